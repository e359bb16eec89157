"""Demo data: real clips out of registry packages, and forgeries made of them."""
