//! What an ICV has vouched for.

/// A value whose octets carried a good ICV. [`Ick::verify`](super::Ick::verify) alone makes one.
#[derive(Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// Wraps what the ICV check has passed.
    pub(super) const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.0
    }

    /// Gives the value up, and with it the proof.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Reads the value as something more, which is as well proved: `read` must make it of the
    /// value alone.
    ///
    /// # Errors
    ///
    /// What `read` says.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Verified<U>, E> {
        read(self.0).map(Verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_from_a_proved_value_is_proved_and_a_failure_is_handed_on() {
        let read = |text: &str| text.parse::<u8>();
        assert_eq!(Verified::new("7").try_map(read).unwrap().into_inner(), 7);
        assert!(Verified::new("seven").try_map(read).is_err());
        assert_eq!(*Verified::new(7).get(), 7);
    }
}
