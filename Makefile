PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: help demo demo-descreen app figures reproduce test test-browser test-cuda gpu-check lint clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##/\1\t/p' Makefile | expand -t 18

demo: $(VENV)/ready  ## dither and restore the photographs in test_imgs/ into result/
	$(RUN) inference_fast.py

demo-descreen: $(VENV)/ready  ## print and descreen the photographs in test_imgs/, rescreen one, into result/descreen/
	$(RUN) -m descreen.demo

app: $(VENV)/ready  ## serve a web page at http://127.0.0.1:7860, on this machine only
	$(RUN) app.py

figures: $(VENV)/ready  ## make README's images from the shipped checkpoint and test_imgs/
	$(RUN) -m figures.make

reproduce: $(VENV)/ready  ## VOC=VOC2012: run the paper's trainings and evaluation, see scripts/reproduce.md
	$(RUN) -m scripts.reproduce --voc "$(VOC)" $(ARGS)

test: lint  ## lint, the whole test suite, and the processor tests again as on a CPU with AVX2 alone
	$(RUN) -m pytest -n 2 --dist loadfile
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(RUN) -m pytest -m processor

test-browser: $(VENV)/ready  ## test the page in Chromium, which is installed if possible
	tests/browser/install.sh $(RUN)
	$(RUN) -m pytest -m browser tests/browser

test-cuda: $(VENV)/ready  ## run the tests that need a GPU; fails without one
	$(RUN) -m pytest -m cuda tests/cuda

gpu-check: $(VENV)/ready  ## tests and benchmarks that need a GPU, in 8 minutes, into gpu_report.txt
	$(RUN) bench/gpu_check.py

lint: $(VENV)/ready  ## run ruff only
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# The environment is rebuilt when requirements.txt changes; "ready" is created after a complete installation.
$(VENV)/ready: requirements.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

clean:  ## remove the environment and the caches, not the results
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
