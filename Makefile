# SPDX-License-Identifier: Apache-2.0
# The front door. Meson and ninja do the work; programs stand in build/bin/.

BUILD ?= build
DESTDIR ?=
PREFIX ?= /usr/local

N ?= 3

.PHONY: all deps demo demo-down lab lab-down image check check-long bench install format clean help

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

help:
	@echo "make            build the programs into $(BUILD)/bin/"
	@echo "make demo       install what is missing, start a one-host cloud, boot a machine"
	@echo "make demo-down  remove every trace of the demo"
	@echo "make lab        N=$(N) hosts in namespaces with one gateway, for tries by hand"
	@echo "make lab-down   remove every trace of it"
	@echo "make check      run every test this machine can run"
	@echo "make check-long the same and the long ones (fuzzing, sanitised black box)"
	@echo "make bench      measure, each figure beside its peer"
	@echo "make install    DESTDIR= PREFIX=$(PREFIX)"

$(BUILD)/build.ninja:
	@tools/deps.py build
	@meson setup $(BUILD) --prefix $(PREFIX) >/dev/null

image: all
	@tools/deps.py image
	@images/tiny/build.py --seed-reader $(BUILD)/images/tiny/gabbro-tiny-seed --output $(BUILD)/images/tiny.qcow2

demo:
	@tools/deps.py build run image
	@$(MAKE) --no-print-directory image
	@tools/demo.py up

demo-down:
	@tools/demo.py down

lab:
	@tools/deps.py build run image test
	@$(MAKE) --no-print-directory image
	@tests/lab/lab.py up --hosts $(N)

lab-down:
	@tests/lab/lab.py down

check:
	@tools/deps.py build run image test
	@tools/check.py

check-long:
	@tools/deps.py build run image test
	@tools/check.py --long

bench:
	@tools/deps.py build run image
	@$(MAKE) --no-print-directory image
	@bench/run.py

install: all
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

format:
	@clang-format -i $$(git ls-files 'src/*.[ch]' 'bench/*.[ch]' 'images/*.[ch]' 'tests/*.[ch]')

clean:
	@rm -rf $(BUILD) build-asan build-clang
