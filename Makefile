# Everything is built by cargo; this names what to run. `make` alone lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# rustup's place, where the shell that calls make has not been told of it.
export PATH := $(HOME)/.cargo/bin:$(PATH)

SUITE ?= gcm-aes-xpn-256
SESSIONS ?= 10000
REKEYS ?= 1000
ENGINE_FRAMES ?= 5000000
KILLS ?= 200
PLANNED ?= 20
FUZZ_SECONDS ?= 60
export BENCH_ROUNDS BENCH_SECONDS BENCH_PATHS
SHARD ?= 0/1
# Of the core's tests outside of it, those that a mutant can fail quickly.
MUTANT_TESTS := $(addprefix --test ,vectors_mka vectors_frames mkpdu_properties sim)
FUZZ_TARGETS := mkpdu frame config kay engine
DENY_VERSION := 0.20.2
# The exposure of the unit, in tenths, that `make units` accepts (docs/adr/0007).
EXPOSURE_MAX := 20

# What CI runs, in order: what is quick and fails often comes first.
STEPS := lint suite core doc deny units kernel-test interop demo rotate-demo restarts

.PHONY: test
test: tools namespaces ## everything that CI runs, with the time of each step
	@for step in $(STEPS); do \
	  echo "==== $$step"; began=$$SECONDS; \
	  $(MAKE) $$step || { echo "==== $$step failed after $$((SECONDS - began)) s"; exit 1; }; \
	  times+="$$(printf '==== %-11s %4d s' $$step $$((SECONDS - began)))"$$'\n'; \
	done; \
	printf '%s' "$$times"; echo "==== all steps passed in $$SECONDS s"

.PHONY: demo
demo: tools ## two daemons in two namespaces, traffic and a rekey; SUITE=gcm-aes-xpn-256
	cargo build --locked --release --bins
	target/release/macsecctl lab demo --suite $(SUITE)

.PHONY: rotate-demo
rotate-demo: tools ## the CAK is changed under traffic, from either end; SUITE=gcm-aes-xpn-256
	cargo build --locked --release --bins
	target/release/macsecctl lab rotate --suite $(SUITE)

.PHONY: restarts
restarts: tools ## the short form of restart-demo, without the guest
	cargo build --locked --release --bins
	target/release/macsecctl lab restart --kills 12 --planned 3 --suite $(SUITE)

.PHONY: restart-demo
restart-demo: tools ## daemons killed and restarted under traffic, here and on the kernel; KILLS=200 PLANNED=20
	cargo build --locked --release --bins
	target/release/macsecctl lab restart --kills $(KILLS) --planned $(PLANNED) --suite $(SUITE) | tee target/restart.log
	@# The kernel's part, with macsecd and with wpa_supplicant at the far end.
	INTEROP_RESTARTS=$(KILLS)+$(PLANNED) $(MAKE) interop CASES=many-restarts
	@tail -n 1 target/restart.log

.PHONY: sim
sim: tools ## sessions on a faulty link in virtual time; SESSIONS=10000
	mkdir -p target
	SIM_SESSIONS=$(SESSIONS) cargo test --locked --release --no-default-features --test sim -- --nocapture | tee target/sim.log
	@grep -o 'sim: ok .*' target/sim.log | tail -n 1 | grep . || { echo "sim: no result"; exit 1; }

.PHONY: bench-engine
bench-engine: tools ## the frame engine against aws-lc-rs and ring: a table, and target/bench/engine.json
	cargo bench --locked --no-default-features --bench engine

.PHONY: engine-check
engine-check: tools ## millions of random frames through the engine, compared with a library; ENGINE_FRAMES=
	ENGINE_FRAMES=$(ENGINE_FRAMES) cargo test --locked --release --no-default-features --lib engine:: -- --nocapture | tee target/engine.log
	@grep -o 'engine: ok .*' target/engine.log || { echo "engine: no result"; exit 1; }

.PHONY: rekeys
rekeys: tools namespaces ## rekeys in a row on two daemons under traffic; REKEYS=1000
	REKEYS=$(REKEYS) cargo test --locked --test daemon -- --nocapture rekeys_in_a_row | tee target/rekeys.log
	@grep 'daemon: rekeys=.* lost=0$$' target/rekeys.log || { echo "rekeys: no result"; exit 1; }

.PHONY: model
model: tools ## the models of MKA, explored to the end of their bounds
	mkdir -p target
	MODEL=full cargo test --locked --release --no-default-features --lib mka::model_tests -- --nocapture --test-threads 1 | tee target/model.log
	@awk '/model: .*: states=/ { for (n = 1; n <= NF; n++) { split($$n, of, "="); if (of[1] in want) sum[of[1]] += of[2] } } \
	  BEGIN { want["states"]; want["transitions"]; want["counterexamples"]; want["seconds"] } \
	  END { if (!sum["states"]) { print "model: no result"; exit 1 }; \
	    printf "model: ok states=%d counterexamples=%d transitions=%d seconds=%d\n", sum["states"], sum["counterexamples"], sum["transitions"], sum["seconds"] }' target/model.log

.PHONY: bench-path
bench-path: tools ## bulk data end to end, beside veth, wireguard-go and boringtun: BENCH_ROUNDS=3 BENCH_SECONDS=3 BENCH_PATHS=; needs root
	@command -v iperf3 >/dev/null && command -v ethtool >/dev/null || { echo "bench-path: 'apt-get install iperf3 ethtool' first; wireguard-go with wireguard-tools and boringtun-cli are measured where they are installed"; exit 1; }
	cargo bench --locked --bench path

# The quick tests first; the slow ones see only what those let live.
.PHONY: mutants
mutants: tools ## the core with one defect at a time; SHARD=0/1 of all, needs cargo-mutants
	@cargo mutants --version >/dev/null 2>&1 || { echo "mutants: 'cargo install --locked cargo-mutants' first"; exit 1; }
	mkdir -p target/mutants
	cargo mutants -o target/mutants --shard $(SHARD) --sharding round-robin -- --lib -- --skip model_tests --skip group_tests || [[ $$? =~ ^[23]$$ ]]
	cargo mutants -o target/mutants --shard $(SHARD) --sharding round-robin --iterate -- --lib $(MUTANT_TESTS) || [[ $$? =~ ^[23]$$ ]]
	@cat target/mutants/mutants.out/missed.txt

.PHONY: lint
lint: ## formatting, and clippy on both feature sets
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@# Not among all targets, because `cargo test` is not to run them.
	cargo clippy --locked --test kernel --test interop -- -D warnings
	cargo clippy --locked --all-targets --no-default-features -- -D warnings

.PHONY: suite
suite: ## all tests of the whole product
	cargo test --locked

# Both need a kernel with MACsec. They bring their own, in a guest (.ci/vm/run): this machine's is
# not asked for it and not touched. Where there can be no guest they say so, and in CI they fail.
.PHONY: kernel-test
kernel-test: tools ## what needs a kernel with MACsec, in a guest that has one; TESTS= part of a name
	@status=0; .ci/vm/test kernel conformance || status=$$?; [ $$status = 77 ] || exit $$status

.PHONY: interop
interop: tools ## with Debian's wpa_supplicant, on both data planes: a table; CASES= words of their names
	cargo test --locked --quiet --test interop -- $(CASES)

.PHONY: core
core: ## all tests of the pure core, built without the rest
	cargo test --locked --no-default-features
	@if cargo tree --locked --no-default-features -e normal --prefix none | grep -E '^(tokio|nix|socket2|rtnetlink|tracing|zlink) '; then \
	  echo "core: these must not be built into it"; exit 1; fi

.PHONY: doc
doc: ## the reference, public and private, without a warning
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

.PHONY: deny
deny: ## licences, sources and bans of the dependencies
	@if ! cargo deny --version >/dev/null 2>&1 && [ ! -x target/tools/bin/cargo-deny ]; then \
	  if [ -n "$${CI:-}" ]; then \
	    cargo install --quiet --locked --debug --root target/tools --target-dir target/tools/build cargo-deny@$(DENY_VERSION); \
	  else \
	    echo "deny: skipped, cargo-deny is not installed; 'cargo install --locked cargo-deny' brings it"; exit 0; \
	  fi; \
	fi; \
	PATH="$$PWD/target/tools/bin:$$PATH" cargo deny --locked --log-level error check bans licenses sources

.PHONY: units
units: ## the systemd units: valid, and as closed as we say
	@if ! command -v systemd-analyze >/dev/null; then \
	  echo "units: skipped, there is no systemd-analyze"; exit 0; fi; \
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	sed 's|^\(ExecStart=\)[^ ]*|\1/bin/true|' systemd/macsecd.service >"$$scratch/macsecd.service"; \
	systemd-analyze verify --man=no "$$scratch/macsecd.service"; \
	systemd-analyze security --offline=true --threshold=$(EXPOSURE_MAX) --no-pager "$$scratch/macsecd.service" | tail -n 1

.PHONY: fuzz
fuzz: tools ## libFuzzer on each target for FUZZ_SECONDS=60; needs cargo-fuzz and a C++ compiler
	@cargo fuzz --version >/dev/null 2>&1 || { echo "fuzz: 'cargo install --locked cargo-fuzz' first"; exit 1; }
	cp Cargo.lock fuzz/Cargo.lock
	FUZZ_CORPUS=$(CURDIR)/fuzz/corpus cargo test --locked --test fuzz_replay
	@# The sanitizer flags are nightly's; the bootstrap variable lends them to stable.
	for target in $(FUZZ_TARGETS); do \
	  RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=16384 -timeout=5; \
	done

# A C compiler builds the crypto library; neither cmake nor clang is needed.
.PHONY: tools
tools:
	@command -v cargo >/dev/null || { \
	  echo "cargo is not installed. macsecd needs Rust 1.95 or newer, as rustup installs it: https://rustup.rs" >&2; exit 1; }
	@command -v cc >/dev/null && [ -e /usr/include/stdio.h ] || { \
	  if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	    echo "A C compiler is missing. On Debian: apt-get install gcc libc6-dev" >&2; exit 1; fi; \
	  apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc libc6-dev; }
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || { \
	  echo "rustfmt or clippy is missing: rustup component add rustfmt clippy" >&2; exit 1; }

# Tests of whole daemons, and the demo, make network namespaces of their own.
.PHONY: namespaces
namespaces:
	@if [ "$$(id -u)" = 0 ] && unshare --net true; then echo "namespaces: as root"; \
	elif unshare --user --map-root-user --net true 2>/dev/null; then echo "namespaces: in a user namespace"; \
	elif [ -n "$${CI:-}" ]; then echo "namespaces: none, and CI needs them" >&2; exit 1; \
	else echo "namespaces: none here; the tests of whole daemons and the demo cannot run" >&2; fi

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
