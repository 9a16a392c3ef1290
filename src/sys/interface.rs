//! Settings of network interfaces.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::SysError;
use super::error::NET_ADMIN;

/// Access to the interfaces of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Interfaces(OwnedFd);

/// Whether an interface can carry frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq, serde::Deserialize, serde::Serialize)]
pub enum LinkState {
    /// It is up and has a carrier.
    Running,
    /// It is up and has none.
    NoCarrier,
    /// It is down.
    Down,
    /// There is no such interface any more.
    Gone,
}

impl Interfaces {
    /// Opens the namespace of this thread.
    ///
    /// # Errors
    ///
    /// [`SysError::Os`] where the process may open no more files.
    pub fn open() -> Result<Self, SysError> {
        // Any socket will do; this kind is in every kernel.
        socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .map(Self)
            .map_err(|errno| SysError::new("opening a socket", NET_ADMIN, errno))
    }

    /// Finds an interface.
    ///
    /// # Errors
    ///
    /// [`SysError::BadName`], or [`SysError::NoInterface`] where none has the name.
    pub fn index(&self, name: &str) -> Result<u32, SysError> {
        let mut request = request(name)?;
        self.ask(ioctls::get_index, &mut request).map_err(|errno| refused(errno, name))?;
        // SAFETY: the kernel has filled in the index.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex }.cast_unsigned())
    }

    /// Tells the MTU of an interface.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::index`].
    pub fn mtu(&self, name: &str) -> Result<u32, SysError> {
        let mut request = request(name)?;
        self.ask(ioctls::get_mtu, &mut request).map_err(|errno| refused(errno, name))?;
        // SAFETY: the kernel has filled in the MTU.
        Ok(unsafe { request.ifr_ifru.ifru_mtu }.cast_unsigned())
    }

    /// Tells the MAC address of an Ethernet interface.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::index`].
    pub fn address(&self, name: &str) -> Result<[u8; 6], SysError> {
        let mut request = request(name)?;
        self.ask(ioctls::get_address, &mut request).map_err(|errno| refused(errno, name))?;
        // SAFETY: the kernel has filled in the address.
        let octets = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
        let mut address = [0; 6];
        for (to, from) in address.iter_mut().zip(octets) {
            [*to] = from.to_ne_bytes();
        }
        Ok(address)
    }

    /// Tells the state of an interface by its index, which no renaming changes.
    #[must_use]
    pub fn state(&self, index: u32) -> LinkState {
        let mut request = empty_request();
        request.ifr_ifru.ifru_ifindex = index.cast_signed();
        if self.ask(ioctls::get_name, &mut request).is_err()
            || self.ask(ioctls::get_flags, &mut request).is_err()
        {
            return LinkState::Gone;
        }
        // SAFETY: the kernel has filled in the flags.
        let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
        match (flags & libc::IFF_UP != 0, flags & libc::IFF_RUNNING != 0) {
            (false, _) => LinkState::Down,
            (true, false) => LinkState::NoCarrier,
            (true, true) => LinkState::Running,
        }
    }

    /// Sets the MTU.
    ///
    /// # Errors
    ///
    /// [`SysError::NotPermitted`] without `CAP_NET_ADMIN`, [`SysError::NoInterface`] where none has
    /// the name, [`SysError::Os`] where the interface cannot have it.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), SysError> {
        let mut request = request(name)?;
        request.ifr_ifru.ifru_mtu = libc::c_int::try_from(mtu).unwrap_or(libc::c_int::MAX);
        self.tell(ioctls::set_mtu, &request).map_err(|errno| refused(errno, name))
    }

    /// Sets the MAC address.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::set_mtu`].
    pub fn set_address(&self, name: &str, address: [u8; 6]) -> Result<(), SysError> {
        let mut request = request(name)?;
        let mut octets = [0; 14];
        for (to, from) in octets.iter_mut().zip(address) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        request.ifr_ifru.ifru_hwaddr =
            libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: octets };
        self.tell(ioctls::set_address, &request).map_err(|errno| refused(errno, name))
    }

    /// Brings the interface up, and changes none of its other flags.
    ///
    /// # Errors
    ///
    /// As for [`Interfaces::set_mtu`].
    pub fn set_up(&self, name: &str) -> Result<(), SysError> {
        let mut request = request(name)?;
        self.ask(ioctls::get_flags, &mut request).map_err(|errno| refused(errno, name))?;
        let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or_default();
        // SAFETY: the kernel has filled in the flags.
        request.ifr_ifru.ifru_flags = unsafe { request.ifr_ifru.ifru_flags } | up;
        self.tell(ioctls::set_flags, &request).map_err(|errno| refused(errno, name))
    }

    fn ask(&self, ioctl: Ask, request: &mut libc::ifreq) -> nix::Result<()> {
        // SAFETY: `ioctl` is one of those below, which all read and write one `ifreq` at most, and
        // `request` is one, exclusively borrowed; the descriptor is open as long as `self`.
        unsafe { ioctl(self.0.as_raw_fd(), request) }.map(|_| ())
    }

    fn tell(&self, ioctl: Tell, request: &libc::ifreq) -> nix::Result<()> {
        // SAFETY: `ioctl` is one of those below, which all read one `ifreq` and write nothing, and
        // `request` is one; the descriptor is open as long as `self`.
        unsafe { ioctl(self.0.as_raw_fd(), request) }.map(|_| ())
    }
}

type Ask = unsafe fn(libc::c_int, *mut libc::ifreq) -> nix::Result<libc::c_int>;
type Tell = unsafe fn(libc::c_int, *const libc::ifreq) -> nix::Result<libc::c_int>;

mod ioctls {
    nix::ioctl_readwrite_bad!(get_index, libc::SIOCGIFINDEX, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_name, libc::SIOCGIFNAME, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_flags, libc::SIOCGIFFLAGS, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_mtu, libc::SIOCGIFMTU, libc::ifreq);
    nix::ioctl_readwrite_bad!(get_address, libc::SIOCGIFHWADDR, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_flags, libc::SIOCSIFFLAGS, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_mtu, libc::SIOCSIFMTU, libc::ifreq);
    nix::ioctl_write_ptr_bad!(set_address, libc::SIOCSIFHWADDR, libc::ifreq);
}

/// Starts a request about the interface called `name`.
pub(super) fn request(name: &str) -> Result<libc::ifreq, SysError> {
    let fits = !name.is_empty() && name.len() < libc::IFNAMSIZ;
    let clean = name.bytes().all(|octet| octet.is_ascii_graphic() && !b"/:%".contains(&octet));
    if !fits || !clean || name == "." || name == ".." {
        return Err(SysError::BadName(name.to_owned()));
    }
    let mut request = empty_request();
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// The name that the kernel has put in a request.
pub(super) fn name_in(request: &libc::ifreq) -> String {
    let octets = request.ifr_name.iter().map(|octet| {
        let [octet] = octet.to_ne_bytes();
        octet
    });
    String::from_utf8_lossy(&octets.take_while(|&octet| octet != 0).collect::<Vec<_>>())
        .into_owned()
}

pub(super) fn empty_request() -> libc::ifreq {
    // SAFETY: all octets zero is a value of this type: an empty name, and a union of integers,
    // addresses and a pointer that may be null.
    unsafe { std::mem::zeroed() }
}

fn refused(errno: Errno, name: &str) -> SysError {
    if matches!(errno, Errno::ENODEV | Errno::ENXIO) {
        return SysError::NoInterface(name.to_owned());
    }
    SysError::new("asking for or changing an interface's settings", NET_ADMIN, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_name_and_index() {
        let interfaces = Interfaces::open().unwrap();
        let index = interfaces.index("lo").unwrap();
        assert_eq!(interfaces.address("lo").unwrap(), [0; 6]);
        assert!(interfaces.mtu("lo").unwrap() > 0);
        assert_ne!(interfaces.state(index), LinkState::Gone);
        assert_eq!(interfaces.state(0x7fff_fff0), LinkState::Gone);
        assert!(matches!(interfaces.index("none-such"), Err(SysError::NoInterface(_))));
    }

    #[test]
    fn names_no_interface_can_have_are_refused() {
        for name in ["", "sixteen-octets-x", "a/b", "a:b", "macsec%d", "a b", ".", "..", "ä"] {
            assert!(matches!(request(name), Err(SysError::BadName(_))), "{name}");
        }
        assert_eq!(name_in(&request("fifteen-octets-").unwrap()), "fifteen-octets-");
    }
}
