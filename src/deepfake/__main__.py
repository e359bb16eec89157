"""`python -m deepfake` is `deepfake`."""

from deepfake.commands.main import main

if __name__ == "__main__":
    main()
