# make demo     build, train a model in the sandbox, show what is left afterwards
# make test     everything, on this machine, in containers and in a machine
# make test-ml  scikit-learn, PyTorch, XGBoost and others in the sandbox, from PyPI
# make test-mutations  switch each layer of the sandbox off, see a test notice
# make test-crash  kill the supervisor CRASH_KILLS (1000) times while clients use it,
#                  then cut the power of a machine RESETS (20) times
# make check    formatting, lints, licences
# make fuzz     readers of untrusted or foreign text, FUZZ_SECONDS each (cargo-fuzz)
# make bench    cost of starting a job beside fork+exec, bwrap and crun
# make deb      build/fetchml_VERSION_amd64.deb
# make install  into DESTDIR (default /)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

DESTDIR ?=
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET)/release
TRIPLE := x86_64-unknown-linux-gnu
AGENT := $(TARGET)/$(TRIPLE)/release/fetchml-agent
VERIFIER := $(TARGET)/$(TRIPLE)/release/fetchml-audit-verify
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
DEB := build/fetchml_$(VERSION)_amd64.deb
STAGE := build/deb

# nextest runs tests beside each other and says more about a failure; plain
# cargo does as well.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: all build demo test test-crash test-mutations test-setup test-images test-ml check bench fuzz install deb clean

all: build

# The agent is static and uses no C library: it is executed in a root file system that
# need not have one of ours. A target of its own keeps its flags from the build of
# everything else, so that neither build undoes the other. A copy lies beside the
# supervisor, which looks for it there. The verifier is static as well, and must run
# where evidence is looked at; built alone, so that the agent stays without a library.
build:
	cargo build --release --locked -p fetchmld -p fetchmlctl
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked -p fetchml-agent --target $(TRIPLE)
	RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked -p fetchml-audit-verify --target $(TRIPLE)
	cp -u $(AGENT) $(RELEASE)/fetchml-agent
	cp -u $(VERIFIER) $(RELEASE)/fetchml-audit-verify

demo: build
	docs/examples/demo.sh

check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	if cargo deny --version >/dev/null 2>&1; then cargo deny --locked check; fi

# One run of all tests at the end, so that its summary counts them all. CI is
# set because here a test that cannot run is a failure.
test: test-setup
	$(MAKE) check
	$(MAKE) deb
	$(MAKE) test-images
ifeq ($(NEXTEST),yes)
	CI=true cargo nextest run --workspace --locked --no-fail-fast --config-file tests/nextest.toml
else
	CI=true cargo test --workspace --locked --no-fail-fast
endif

test-setup:
	tests/setup.sh

# About an hour, most of it for the emulated machine: FETCHML_TEST_ACCEL=kvm is faster
# where it works. CRASH_SEED repeats the lots of a run, not the machine's timing.
test-crash: test-setup deb
	cargo bench --profile dev --locked -p fetchml-tests --bench crash

# MUTATIONS='ids caps' tries only those whose name has one of these words.
test-mutations: test-setup
	tests/mutations/run.py $(MUTATIONS)

# Beside each other: most of it is waiting for a mirror.
test-images:
	tests/images/build.sh container bookworm >/dev/null & one=$$!; \
	tests/images/build.sh container trixie >/dev/null & two=$$!; \
	tests/images/build.sh machine bookworm >/dev/null & three=$$!; \
	tests/images/build.sh machine trixie >/dev/null & four=$$!; \
	wait $$one && wait $$two && wait $$three && wait $$four

# Real libraries in the sandbox; fetches 2.5 GB once. Not part of `test` for that.
# All at once, or some: make test-ml WORKLOADS="torch_gloo xgboost_trees"
test-ml: build
	tests/ml/run.py "$$(tests/ml/setup.sh)" $(WORKLOADS)

bench: test-setup build
	cargo bench --locked -p fetchml-tests --bench queue
	cargo bench --locked -p fetchml-tests --bench secrets
	cargo bench --locked -p fetchml-tests --bench spawn
	cargo bench --locked -p fetchml-tests --bench audit

# cargo-fuzz wants flags of an unstable compiler; nothing of it goes into a build.
# The corpus is what earlier runs found worth keeping; new finds lie in build/fuzz. SQLite's
# own globals look like defined twice to the sanitizer.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := agent profile seccomp import audit journal redactor configuration
fuzz:
	cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	mkdir -p build/fuzz
	tar -xJf tests/fuzz/corpus.tar.xz --skip-old-files -C build/fuzz
	for target in $(FUZZ_TARGETS); do \
	    RUSTC_BOOTSTRAP=1 ASAN_OPTIONS=detect_odr_violation=0 cargo fuzz run --fuzz-dir tests/fuzz $$target build/fuzz/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=65536; done

install: build
	install -D -m 0755 $(RELEASE)/fetchmld $(DESTDIR)/usr/sbin/fetchmld
	install -D -m 0755 $(RELEASE)/fetchmlctl $(DESTDIR)/usr/bin/fetchmlctl
	install -D -m 0755 $(VERIFIER) $(DESTDIR)/usr/bin/fetchml-audit-verify
	install -D -m 0755 $(AGENT) $(DESTDIR)/usr/libexec/fetchml/fetchml-agent
	install -d $(DESTDIR)/usr/share/fetchml/policies/profiles $(DESTDIR)/usr/share/fetchml/policies/seccomp \
	    $(DESTDIR)/usr/share/fetchml/policies/secrets
	install -m 0644 policies/profiles/*.toml $(DESTDIR)/usr/share/fetchml/policies/profiles/
	install -m 0644 policies/seccomp/*.json $(DESTDIR)/usr/share/fetchml/policies/seccomp/
	install -m 0644 policies/secrets/vendor.toml $(DESTDIR)/usr/share/fetchml/policies/secrets/
	install -D -m 0644 -t $(DESTDIR)/usr/lib/systemd/system units/*.service units/*.socket units/*.slice
	install -D -m 0644 -t $(DESTDIR)/usr/lib/systemd/catalog units/fetchml.catalog
	install -D -m 0644 -t $(DESTDIR)/usr/lib/sysusers.d units/sysusers.d/fetchml.conf
	install -D -m 0644 -t $(DESTDIR)/usr/lib/tmpfiles.d units/tmpfiles.d/fetchml.conf
	install -D -m 0644 -t $(DESTDIR)/usr/share/dbus-1/system.d policies/dbus/org.fetchml.FetchML1.conf
	install -D -m 0644 -t $(DESTDIR)/usr/share/dbus-1/system-services policies/dbus/org.fetchml.FetchML1.service
	install -D -m 0644 -t $(DESTDIR)/usr/share/polkit-1/actions policies/polkit/org.fetchml.policy
	install -D -m 0644 -t $(DESTDIR)/usr/share/polkit-1/rules.d policies/polkit/50-fetchml.rules
	if [ ! -e $(DESTDIR)/etc/fetchml/fetchml.toml ]; then \
	    install -D -m 0644 -t $(DESTDIR)/etc/fetchml units/fetchml.toml; fi
	install -d $(DESTDIR)/usr/share/bash-completion/completions $(DESTDIR)/usr/share/zsh/vendor-completions \
	    $(DESTDIR)/usr/share/fish/vendor_completions.d
	$(RELEASE)/fetchmlctl completion bash > $(DESTDIR)/usr/share/bash-completion/completions/fetchmlctl
	$(RELEASE)/fetchmlctl completion zsh > $(DESTDIR)/usr/share/zsh/vendor-completions/_fetchmlctl
	$(RELEASE)/fetchmlctl completion fish > $(DESTDIR)/usr/share/fish/vendor_completions.d/fetchmlctl.fish
	rm -rf build/man && mkdir -p build/man
	$(RELEASE)/fetchmlctl man build/man
	cp docs/man/*.[1-8] build/man/
	for page in build/man/*.[1-8]; do \
	    directory=$(DESTDIR)/usr/share/man/man$${page##*.}; \
	    install -d "$$directory"; \
	    gzip -9nc "$$page" > "$$directory/$${page##*/}.gz"; done
	install -D -m 0644 -t $(DESTDIR)/usr/share/doc/fetchml README.md SECURITY.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE docs/*.md

deb: build
	rm -rf $(STAGE)
	$(MAKE) --no-print-directory install DESTDIR=$(STAGE)
	{ cat LICENSE-MIT; printf '\nor, as you like:\n\n'; cat LICENSE-APACHE; } > $(STAGE)/usr/share/doc/fetchml/copyright
	rm $(STAGE)/usr/share/doc/fetchml/LICENSE-*
	gzip -9n $(STAGE)/usr/share/doc/fetchml/CHANGELOG.md
	install -d $(STAGE)/DEBIAN
	install -m 0644 units/debian/conffiles $(STAGE)/DEBIAN/
	install -m 0755 units/debian/{postinst,prerm,postrm} $(STAGE)/DEBIAN/
	glibc=$$(objdump -T $(RELEASE)/fetchmld $(RELEASE)/fetchmlctl | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1); \
	size=$$(du -sk --exclude=DEBIAN $(STAGE) | cut -f1); \
	sed -e "s/@VERSION@/$(VERSION)/" -e "s/@SIZE@/$$size/" -e "s/@GLIBC@/$${glibc#GLIBC_}/" \
	    units/debian/control.in > $(STAGE)/DEBIAN/control
	cd $(STAGE) && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum > DEBIAN/md5sums
	chmod -R u=rwX,go=rX $(STAGE)
	dpkg-deb --root-owner-group -Zxz --build $(STAGE) $(DEB)
	rm -rf $(STAGE)

clean:
	cargo clean
	rm -rf build
