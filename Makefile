# r1lab: `make course` runs the course, `make test` proves it. Both make their own .venv; `make help` lists the rest.

PYTHON ?= python3
TORCH ?=
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ONLY ?=

VENV := .venv
LOCK := requirements.txt
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed
LOG := $(VENV)/install.log
TALK := build/slides
MARP := slides/node_modules/.bin/marp
MARP_OPTIONS := --no-stdin --theme slides/theme.css
CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
NOTEBOOKS := $(sort $(wildcard notebooks/[0-9A]*.ipynb))
STAGE_TESTS = tests/test_grpo.py $(shell grep -l "r1lab\.stages" tests/test_*.py)
TRL_OLD := 1.14

# Everything below runs at scale tiny, offline and repeatably; two threads are what the times were measured with.
export R1LAB_SCALE := tiny
export OMP_NUM_THREADS ?= 2
export GOMP_SPINCOUNT ?= 10000
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
export PYTHONHASHSEED := 0
# The kernels that made the committed outputs drew no progress bars (KERNEL_ENV in course.py); nor may nbval's.
export HF_HUB_DISABLE_PROGRESS_BARS := 1
export HF_DATASETS_DISABLE_PROGRESS_BARS := 1
export TQDM_DISABLE := 1

.DEFAULT_GOAL := help
.PHONY: help course test test-fast test-slow nbval check-docs notebooks exercises base student bench bench-rewards bench-kernel bench-engine bench-stages lock venv clean distclean locks check-envs stage-tests test-trl-$(TRL_OLD) slides handout bundle figures figures-png gpu-check gpu-wheels

help:
	@echo "make course      run every notebook at scale tiny, write pages and the results table to build/course/"
	@echo "make venv        make .venv and install the course, run nothing"
	@echo "make test        ruff, the fast and the slow tests, then every notebook under nbval (real training)"
	@echo "make test-fast   ruff and the fast tests, in two processes"
	@echo "make check-docs  links, both languages, notebooks, numbers and figures of the slides (ONLY=links for one of the checks)"
	@echo "make notebooks   re-run and clean the committed notebooks (ONLY=04 for one of them)"
	@echo "make exercises   write the learner's notebooks, without solutions, to notebooks/exercises/"
	@echo "make base        make the problems, the tokenizer and the tiny base model again, from the seed"
	@echo "make student     pretrain the student's base model again, under a third of the size (under an hour on one core)"
	@echo "make bench       train R1-Zero with three seeds and write the runs to data/runs/"
	@echo "make bench-stages  the later stages and their controls with three seeds, into data/runs/"
	@echo "make bench-rewards  speed and safety of the rewards, written to data/runs/"
	@echo "make bench-kernel   time and memory of the GRPO loss against TRL, Liger and full logits"
	@echo "make bench-engine   time of sampling and of a training step by hand against TRL, and the seconds to 75% accuracy"
	@echo "make gpu-check   on a machine with an NVIDIA GPU: measures the course's claims about GPUs in at most 8 minutes"
	@echo "make gpu-wheels  the packages that gpu-check needs on a machine without internet, into build/gpu-wheels/"
	@echo "make slides      the talk, both languages: HTML, PDF, PPTX and speaker notes in build/slides/ (needs npm, Chromium)"
	@echo "make handout     the one-page handout, both languages, as PDF in build/handout/ (needs Chromium)"
	@echo "make bundle      everything for a room without internet, into build/r1lab-bundle/ (needs what make slides needs)"
	@echo "make figures     draw images/*.svg again, the measured ones from data/runs"
	@echo "make figures-png  the same as PNG at twice their size, into build/figures/ (needs Chromium)"
	@echo "make lock        resolve requirements.txt again from pyproject.toml"
	@echo "make locks       resolve the environments in requirements/ again (Colab, GPU, cluster)"
	@echo "make check-envs  do those still resolve?"
	@echo "make test-trl-$(TRL_OLD)  the stages' tests under the TRL of the GPU environments, in .venv-trl-$(TRL_OLD)"
	@echo "make clean       remove build/ and caches; make distclean also removes .venv"
	@echo "Variables: TORCH=cpu (Linux: the CPU build of PyTorch, no CUDA), PYTHON=python3.12 (which Python makes .venv)"

course: $(STAMP)
	@$(RUN) tools/maintain.py course

test: test-fast test-slow nbval

test-fast: $(STAMP)
	@echo "== ruff"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@echo "== fast tests"
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -q -m "not slow" -n 2 --dist worksteal

test-slow: $(STAMP)
	@echo "== slow tests"
	@$(RUN) -m pytest -q -m slow

nbval: $(STAMP)
	@for notebook in $(NOTEBOOKS); do \
	  echo "== $$notebook"; \
	  $(RUN) -m pytest -q --nbval-lax --nbval-current-env --nbval-cell-timeout 900 -x "$$notebook" || exit 1; \
	done

check-docs: $(STAMP)
	@$(RUN) tools/check_docs.py $(ONLY)

notebooks: $(STAMP)
	@$(RUN) tools/maintain.py notebooks $(ONLY)
	@$(RUN) tools/exercises.py

exercises: $(STAMP)
	@$(RUN) tools/exercises.py

base: $(STAMP)
	@$(RUN) tools/maintain.py base

student: $(STAMP)
	@$(RUN) tools/maintain.py base --student

bench: $(STAMP)
	@$(RUN) tools/maintain.py bench

bench-rewards: $(STAMP)
	@$(RUN) tools/maintain.py bench-rewards

bench-kernel: $(STAMP)
	@$(RUN) tools/maintain.py bench-kernel

bench-engine: $(STAMP)
	@$(RUN) tools/maintain.py bench-engine

bench-stages: $(STAMP)
	@$(RUN) tools/maintain.py bench-stages

# Runs in the machine's own Python, which must have torch, triton and transformers. Other packages come from
# build/gpu-wheels if that folder was copied there. `make gpu-wheels` writes it, for Python 3.12 on x86-64 Linux.
# GPU_CHECK_DEVICE=cpu rehearses the check in .venv.
GPU_PYTHON ?= $(if $(filter cpu,$(GPU_CHECK_DEVICE)),$(RUN),python3)
GPU_WHEELS := build/gpu-wheels
gpu-check: $(if $(filter cpu,$(GPU_CHECK_DEVICE)),$(STAMP))
	@if [ -d $(GPU_WHEELS) ] && [ "$(GPU_CHECK_DEVICE)" != cpu ]; then $(GPU_PYTHON) -m pip install -q --no-index --no-deps \
	  --no-compile --upgrade --target build/gpu-site $(GPU_WHEELS)/*.whl; fi
	@PYTHONPATH=src:tools:build/gpu-site $(GPU_PYTHON) -m gpu_check $(if $(ONLY),--only $(ONLY))

gpu-wheels: $(RUN)
	@rm -rf $(GPU_WHEELS) && $(RUN) -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
	  --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 -d $(GPU_WHEELS) -r requirements/gpu-check.txt
	@du -ch $(GPU_WHEELS)/*.whl | tail -1; git ls-files -z | xargs -0 du -ch | tail -1 | sed 's/total/the files of the repository/'

figures: $(STAMP)
	@for script in images/draw_*.py; do $(RUN) $$script || exit 1; done

# For other people's slides; ours show the SVG. A figure's own size is in its viewBox.
figures-png:
	@[ -n "$(CHROMIUM)" ] || { echo "The PNG are taken by Chromium or Chrome, and none was found: install one and say" \
	  "CHROMIUM=/path/to/it, or use the SVG in images/." >&2; exit 1; }
	@mkdir -p build/figures
	@for figure in images/*.svg; do \
	  size=$$(sed -n '1s/.*viewBox="0 0 \([0-9]*\) \([0-9]*\)".*/\1,\2/p' $$figure); \
	  "$(CHROMIUM)" --headless --no-sandbox --disable-gpu --hide-scrollbars --default-background-color=00000000 \
	    --force-device-scale-factor=2 --window-size=$$size --screenshot=build/figures/$$(basename $$figure .svg).png \
	    "file://$(CURDIR)/$$figure" 2>/dev/null || exit 1; done
	@ls build/figures | wc -l | xargs printf "%s PNG at twice their size in build/figures\n"

# The talk needs no Python. HTML and notes need node only; PDF and PPTX are printed by a Chromium that is installed.
slides: $(MARP)
	@rm -rf $(TALK) && mkdir -p $(TALK)/images && cp images/*.svg $(TALK)/images/
	@for deck in slides slides.id; do \
	  $(MARP) $(MARP_OPTIONS) $$deck.md -o $(TALK)/$$deck.html && \
	  $(MARP) $(MARP_OPTIONS) $$deck.md --notes -o $(TALK)/$$deck.txt || exit 1; done
	@[ -n "$(CHROMIUM)" ] || { echo "HTML and notes are in $(TALK). PDF and PPTX need Chromium or Chrome, and none was found:" \
	  "on Debian and Ubuntu 'sudo apt-get install chromium', elsewhere install Chrome and say CHROMIUM=/path/to/it." >&2; exit 1; }
	@for deck in slides slides.id; do for kind in pdf pptx; do \
	  CHROME_PATH="$(CHROMIUM)" $(MARP) $(MARP_OPTIONS) --allow-local-files $$deck.md -o $(TALK)/$$deck.$$kind || exit 1; done; done
	@ls $(TALK)

handout:
	@[ -n "$(CHROMIUM)" ] || { echo "The handout is printed by Chromium or Chrome, and none was found: open workshop/handout.html in any" \
	  "browser and print it, or install one and say CHROMIUM=/path/to/it." >&2; exit 1; }
	@mkdir -p build/handout
	@for sheet in handout handout.id; do "$(CHROMIUM)" --headless --no-sandbox --disable-gpu --no-pdf-header-footer \
	  --print-to-pdf=build/handout/$$sheet.pdf "file://$(CURDIR)/workshop/$$sheet.html" 2>/dev/null || exit 1; done
	@ls build/handout

# Wheels are for this platform and this Python; the pages are this machine's run of the course, or the committed one.
bundle: $(STAMP) slides handout
	@$(RUN) tools/bundle.py --torch-index $(TORCH_INDEX)

$(MARP): slides/package.json slides/package-lock.json
	@command -v npm >/dev/null || { echo "The slides are rendered by marp-cli, which needs Node.js 20 or newer with npm:" \
	  "install them (Debian and Ubuntu: 'sudo apt-get install nodejs npm'; others: nodejs.org) and run make slides again." >&2; exit 1; }
	@echo "installing marp-cli into slides/node_modules (once)"
	@cd slides && npm ci --silent --no-audit --no-fund
	@touch $(MARP)

lock: $(RUN)
	@$(RUN) -m pip install -q uv
	$(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.txt

locks: $(RUN)
	@$(RUN) -m pip install -q uv
	@$(RUN) tools/locks.py make

check-envs: $(RUN)
	@$(RUN) -m pip install -q uv
	@$(RUN) tools/locks.py check

# Unsloth accepts no newer TRL, so the stages must train under both; the older one has a .venv of its own.
test-trl-$(TRL_OLD):
	@$(MAKE) --no-print-directory stage-tests VENV=.venv-trl-$(TRL_OLD) LOCK=requirements/cpu-trl-$(TRL_OLD).txt

stage-tests: $(STAMP)
	@$(RUN) -c "from importlib.metadata import version as v; print('== stage tests: trl', v('trl'), 'transformers', v('transformers'))"
	@$(RUN) -m pytest -q $(STAGE_TESTS)

venv: $(STAMP)

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis
	find . -path "./.venv*" -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean
	rm -rf $(VENV) .venv-trl-$(TRL_OLD) src/r1lab.egg-info slides/node_modules

# --- the environment ------------------------------------------------------------------------------------------------

RIGHT_PYTHON := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

$(RUN):
	@$(PYTHON) -c "$(RIGHT_PYTHON)" 2>/dev/null || { \
	  found=$$($(PYTHON) --version 2>/dev/null) || found="not on this machine"; \
	  echo "r1lab needs Python 3.11, 3.12 or 3.13, but '$(PYTHON)' is $$found: name another, as in 'make course PYTHON=python3.12'." >&2; exit 1; }
	@free=$$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}'); \
	if [ "$$free" -lt 4 ]; then \
	  echo "The disk is nearly full: setting up needs about 4 GB and $$free GB are free here, so make room and run make again." >&2; exit 1; fi
	@echo "[1/3] making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
	  echo "Python could not make $(VENV) (see above): on Debian and Ubuntu, install the package python3-venv." >&2; exit 1; }

# Installs again when the lock or the package's description changed; pip's own lines go to the log.
$(STAMP): $(LOCK) pyproject.toml | $(RUN)
	@if [ "$(TORCH)" = cpu ] && [ "$$(uname -s)" = Linux ]; then \
	  echo "[2/3] installing the CPU build of PyTorch"; \
	  $(RUN) -m pip install -q --no-deps --index-url $(TORCH_INDEX) $$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' $(LOCK)) || { \
	    echo "PyTorch's CPU build could not be installed (see above): check the network, or leave out TORCH=cpu." >&2; exit 1; }; \
	elif [ "$$(uname -s)" = Linux ] && [ ! -e $(VENV)/bin/torchrun ] && ! command -v nvidia-smi >/dev/null; then \
	  echo "      (no GPU here: 'make TORCH=cpu ...' on a first run spares several GB of CUDA libraries)"; fi
	@total=$$(grep -c '^[a-z].*==' $(LOCK)); \
	echo "[2/3] installing about $$total packages from $(LOCK) (a few minutes; details in $(LOG))"; \
	{ $(RUN) -m pip install --disable-pip-version-check --progress-bar off -r $(LOCK) 2>&1; echo "pip ended with $$?"; } \
	  | tee $(LOG) | awk -v total=$$total '/^(Collecting|Processing) / && ++n % 25 == 0 {print "      " n " of " total; fflush()} \
	    /^Installing collected/ {print "      unpacking"; fflush()}'; \
	tail -1 $(LOG) | grep -q '^pip ended with 0$$' || { grep '^ERROR' $(LOG) >&2; \
	  echo "Installing failed: the whole story is in $(LOG) ($$(df -Ph . | awk 'NR == 2 {print $$4}') free on this disk); run make again to go on." >&2; exit 1; }
	@echo "[3/3] installing r1lab itself"
	@$(RUN) -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
