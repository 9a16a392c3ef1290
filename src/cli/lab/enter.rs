//! Into namespaces of our own, and out again without a trace.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::cli::ExitCode;

/// Where the lab keeps its keys and sockets: inside, this is a file system in memory that nobody
/// outside sees, and that the kernel removes with the last process, however that ends. Every Linux
/// has the folder, and nothing in a lab is the poorer for not seeing what else is in it.
pub(super) const FOLDER: &str = "/dev/shm";

/// What to do where the kernel refuses.
const HINT: &str = "the lab needs namespaces of its own: run it as root, or allow user namespaces \
                    (user.max_user_namespaces above 0; on Debian \
                    kernel.unprivileged_userns_clone=1, on Ubuntu \
                    kernel.apparmor_restrict_unprivileged_userns=0)";

/// What the daemons make their interfaces with.
const TUN: &str = "/dev/net/tun";

/// Starts this command again inside new namespaces and waits for it.
///
/// # Errors
///
/// Where the machine allows no such namespaces, or no tap: it says what would.
pub(super) fn enter() -> Result<ExitCode> {
    may_open_tun()?;
    let (user, group) = (geteuid(), getegid());
    let mut flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    if !user.is_root() {
        flags |= CloneFlags::CLONE_NEWUSER;
    }
    unshare(flags).context(HINT)?;
    if !user.is_root() {
        map("setgroups", "deny")?;
        map("uid_map", &format!("0 {user} 1"))?;
        map("gid_map", &format!("0 {group} 1"))?;
    }
    mount_folder().with_context(|| format!("mounting a private {FOLDER}")).context(HINT)?;
    let own = std::env::current_exe().context("finding this program")?;
    let mut inside = Command::new(own)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .stdin(Stdio::piped())
        .spawn()
        .context("starting the lab inside its namespaces")?;
    // Waiting would close our end of the pipe, and with it the lab.
    let _pipe = inside.stdin.take();
    let status = inside.wait().context("waiting for the lab")?;
    match status.code() {
        Some(0) => Ok(ExitCode::Good),
        Some(_) => Ok(ExitCode::Failure),
        None => bail!("the lab was ended by a signal"),
    }
}

fn map(file: &str, content: &str) -> Result<()> {
    std::fs::write(format!("/proc/self/{file}"), content)
        .with_context(|| format!("writing /proc/self/{file} for the user namespace"))
}

/// Asks before there is a lab: the daemons would wait for it, and the lab for them.
fn may_open_tun() -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(TUN);
    file.map(drop).with_context(|| {
        format!(
            "the lab needs to open {TUN}: run it as root, or give the file mode 0666, as most \
             systems do; where there is none, `modprobe tun`"
        )
    })
}

/// Hides [`FOLDER`] behind an empty one, in this mount namespace only.
fn mount_folder() -> nix::Result<()> {
    const NOTHING: Option<&str> = None;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("macsecd-lab"), FOLDER, Some("tmpfs"), flags, Some("mode=0700,size=1m"))
}

/// Ends this process when the one outside is gone. It is the first process of its namespace, so the
/// kernel ends every other with it.
pub(super) fn end_with_the_outside() {
    thread::spawn(|| {
        let mut nothing = [0; 1];
        while matches!(std::io::stdin().read(&mut nothing), Ok(1..)) {}
        std::process::exit(1);
    });
}
