# make demo     the whole chain on real photos: out/demo.blend and out/demo.png
# make test     all rings of tests but the slow ones
# Both make the Python environment they need the first time and find it in place afterwards.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON := .venv/bin/python
PYTHON_5_2 := .venv-5.2/bin/python
BLENDER_5_2 := 5.2.3
BLENDER_4_2 := 4.2.23
BLENDER_4_5 := 4.5.15
# The stamps carry what the environments were made from (and where: an environment does not survive a move).
stamp = $(1)/.slipcast-$(shell (pwd; cat pyproject.toml $(2) tools/environment.sh; echo $(3)) | cksum | cut -d' ' -f1)
STAMP := $(call stamp,.venv,constraints.txt)
STAMP_5_2 := $(call stamp,.venv-5.2,constraints-3.13.txt,$(BLENDER_5_2))
STAMP_4_2 := $(call stamp,.venv-4.2,constraints-3.11.txt,$(BLENDER_4_2))
STAMP_4_5 := $(call stamp,.venv-4.5,constraints-3.11.txt,$(BLENDER_4_5))

# The rings run beside each other's processes and on small machines: one thread each is faster than several that wait.
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMEXPR_NUM_THREADS=1
RINGS := unit engine bridge blender
FAST := not slow and not window
SLOW := slow and not window
# The engine's ring is the longest; its tests share nothing, and the few that look at the clock have room.
TWO_AT_ONCE := -n 2 --dist loadfile

.PHONY: help demo test test-slow test-older check window addon clean clean-all environment

help:
	@echo "make demo        build the extension, run it on examples/skull in a headless Blender; out/demo.blend, out/demo.png"
	@echo "make test        all tests but the slow ones       make test-slow   the slow ones"
	@echo "make test-older  the Blender tests in 4.2 and 4.5"
	@echo "make check       ruff and pyright                  make window      tests in a real Blender window (BLENDER=path)"
	@echo "make addon       dist/*.zip for all platforms      make clean       remove what was built (clean-all: environments too)"

environment: $(STAMP) $(STAMP_5_2)

$(STAMP):
	@tools/environment.sh 3.11 .venv $@

$(STAMP_5_2):
	@tools/environment.sh 3.13 .venv-5.2 $@ $(BLENDER_5_2)

$(STAMP_4_2):
	@tools/environment.sh 3.11 .venv-4.2 $@ $(BLENDER_4_2)

$(STAMP_4_5):
	@tools/environment.sh 3.11 .venv-4.5 $@ $(BLENDER_4_5)

demo: $(STAMP)
	@$(PYTHON) examples/demo.py

test: environment
	@$(call rings,$(FAST),$(TWO_AT_ONCE))

test-slow: environment
	@$(call rings,$(SLOW))

# The oldest Blender that is promised, and the last of the 4 series. The engine in these tests is that of .venv.
test-older: environment $(STAMP_4_2) $(STAMP_4_5)
	@failed=""; for version in 4.2 4.5; do \
		echo "== tests/blender in Blender $$version"; \
		$(THREADS) .venv-$$version/bin/python -m pytest -q tests/blender -m "$(FAST)" || failed="$$failed $$version"; \
	done; \
	[ -z "$$failed" ] || { echo "failed in Blender$$failed"; exit 1; }

# One process a ring, so that no ring can lean on what another one imported. All rings run, then any failure counts.
# pytest's 5 is "no test carries these markers".
define rings
failed=""; \
for ring in $(RINGS); do \
	echo "== tests/$$ring"; \
	[ $$ring = engine ] && spread="$(2)" || spread=""; \
	$(THREADS) $(PYTHON) -m pytest -q $$spread tests/$$ring -m "$(1)"; code=$$?; \
	[ $$code -eq 0 ] || [ $$code -eq 5 ] || failed="$$failed $$ring"; \
done; \
if [ -x $(PYTHON_5_2) ]; then \
	echo "== tests/blender in Blender 5.2"; \
	$(THREADS) $(PYTHON_5_2) -m pytest -q tests/blender -m "$(1)"; code=$$?; \
	[ $$code -eq 0 ] || [ $$code -eq 5 ] || failed="$$failed blender-5.2"; \
else \
	echo "== tests/blender in Blender 5.2: skipped, no Python 3.13"; \
fi; \
[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }
endef

check: $(STAMP)
	$(PYTHON) -m ruff check .
	@mkdir -p build/typing/slipcast
	@for wing in __init__.py addon bench bridge engine; do ln -sfn ../../../$$wing build/typing/slipcast/$$wing; done
	$(PYTHON) -m pyright --warnings

window: $(STAMP)
	SLIPCAST_BLENDER="$(BLENDER)" $(PYTHON) -m pytest -q tests/window -m window

addon: $(STAMP)
	$(PYTHON) build_addon.py

clean:
	rm -rf build out dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

clean-all: clean
	rm -rf .venv .venv-4.2 .venv-4.5 .venv-5.2
