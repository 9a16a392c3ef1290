//! Runs the daemon.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    macsecd::daemon::main()
}
