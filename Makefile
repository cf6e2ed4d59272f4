PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help demo demo-descreen app figures reproduce test test-browser test-cuda lint clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile | expand -t 18

demo: $(VENV)/ready  ## dither and restore the photographs in test_imgs/ into result/
	$(RUN) inference_fast.py

demo-descreen: $(VENV)/ready  ## screen the photographs in test_imgs/, restore them, screen one anew, into result/descreen/
	$(RUN) -m descreen.demo

app: $(VENV)/ready  ## a page to try it on, at http://127.0.0.1:7860, for this machine only
	$(RUN) app.py

figures: $(VENV)/ready  ## README's pictures, from the shipped checkpoint and test_imgs/
	$(RUN) -m figures.make

reproduce: $(VENV)/ready  ## VOC=VOC2012: the paper's trainings and its table, see scripts/reproduce.md
	$(RUN) -m scripts.reproduce --voc "$(VOC)" $(ARGS)

test: lint  ## lint, the whole test suite, and the processor tests again as on a CPU with AVX2 alone
	$(RUN) -m pytest
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(RUN) -m pytest -m processor

test-browser: $(VENV)/ready  ## the page in Chromium, which is installed where that is possible
	tests/browser/install.sh $(RUN)
	$(RUN) -m pytest -m browser tests/browser

test-cuda: $(VENV)/ready  ## what only a GPU can show; fails where there is none
	$(RUN) -m pytest -m cuda tests/cuda

lint: $(VENV)/ready  ## ruff alone
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# The environment is made anew when requirements.txt changed; "ready" appears only after a complete installation.
$(VENV)/ready: requirements.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

clean:  ## remove the environment and the caches, not what was made
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
