//! Runs the operator's tool.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    macsecd::cli::main()
}
