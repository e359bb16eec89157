"""`python -m lab COMMAND ...`: research commands; one file each in `lab/commands`."""

from deepfake.commands.main import dispatch

COMMANDS = {
    "cross-validate": "networks by left-out sources: folds of publishers, people and generators",
    "left-out-scores": "scores of clips by trainings that left their sources out, to calibrate by",
    "confirm": "ask the clips kept for confirmation once, and log it",
    "measure": "networks on labelled clips they never learnt from: lines of the ablation log",
    "measure-heads": "networks over tracks beside their frame network, with intervals",
    "measure-spans": "how often a short forgery is found at the right second",
    "robustness": "how a detector bears damage, kind by kind and level by level",
    "damage-steps": "whether clips damaged step by step come nearer to the prior, never past it",
    "stability": "how far harmless changes move a score: grey, gamma, mirrored, cropped, ...",
    "people": "how well faces tell people apart: false matches, persons beside known identities",
    "traces": "how often traces of editing are found where they were made, and told where nobody edited",
    "sound": "what the signs of sound and mouth are worth: known shifts, others' sound, two faces, false alarms",
    "copies": "how well copies are found: recall and precision by what was done to them, and at what scale",
    "crowds": "how scores bear several faces, real ones and one forged among them",
    "evidence-needed": "how much of a face a verdict needs: frames, size, sharpness",
    "sweep-frames": "how many frames a detector needs; early exit and skip gates",
    "views": "what every view of a crop, and every member, is worth to a detector",
    "dependence": "how strongly scores depend on source, size and codec",
    "probe-quality": "whether noise and detail alone tell forged clips, on sources and collections left out",
    "class-tokens": "whether CLIP's class tokens tell forged clips of a collection that nothing was learnt from",
    "pack-encoder": "CLIP's image tower with three bits a weight, to train from",
    "fit-line": "a member of a class-token network: its head a line through the tokens of labelled clips",
    "check-sources": "whether quality alone separates the training material's reals and fakes",
    "show-blends": "a sheet of made fakes, a row for each family",
    "show-mistakes": "a page of the surest mistakes of a CSV of scores",
    "long-videos": "what videos of seconds to hours cost, and who is seen in them",
    "large-pictures": "what 1080p, 4K and 8K in HEVC of 10 bits cost a check: seconds and memory",
    "fuzz": "damaged clips through `deepfake predict`: a row each, and what must not happen",
    "kills": "`kill -9` of commands and their workers: the same bytes in the end",
    "compare-engines": "stages and predict on worker processes and on Spark: seconds, and the same bytes",
    "export-mtcnn": "facenet-pytorch's MTCNN as the file of networks that the package holds",
    "mtcnn-equality": "our MTCNN beside facenet-pytorch's: faces, boxes, landmarks, scores, milliseconds",
    "bench": "seconds, ratios and memory of every step",
    "bench-engines": "what runs networks on a processor: time an image, and whether logits are the same",
    "bench-spark": "what Spark costs beside worker processes, what two executors gain, what the driver holds",
    "simulate-cluster": "how long a cluster takes for an archive, on paper, from measured seconds a clip",
    "bench-tracks": "our linker beside others on invented scenes",
}
ABOUT = "Measures and compares what `deepfake` does. Nothing here is imported by it or shipped with it."

if __name__ == "__main__":
    dispatch("python -m lab", "lab.commands", ABOUT, COMMANDS)
