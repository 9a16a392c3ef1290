//! Messages out of a stream: each ends with a NUL octet.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Cuts a stream into messages, none longer than a limit.
#[derive(Debug)]
pub(crate) struct Framer<R> {
    reader: R,
    /// What was read and not yet given out.
    buffer: Vec<u8>,
    /// How much of it is known to hold no NUL, so that nothing is searched twice.
    searched: usize,
    limit: usize,
}

/// Why there is no next message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the message is longer than {limit} octets")]
    TooLong { limit: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<R: AsyncRead + Unpin> Framer<R> {
    pub(crate) const fn new(reader: R, limit: usize) -> Self {
        Self { reader, buffer: Vec::new(), searched: 0, limit }
    }

    /// Reads the next message, without its NUL; `None` at the end of the stream.
    ///
    /// What follows the last NUL at the end is dropped. Dropping this future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            let fresh = self.buffer.iter().skip(self.searched);
            if let Some(at) = fresh.copied().position(|octet| octet == 0) {
                return self.take(self.searched + at).map(Some);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > self.limit {
                return Err(FrameError::TooLong { limit: self.limit });
            }
            self.buffer.reserve(READ_OCTETS);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Gives out the message that ends before `end`, and keeps what follows its NUL.
    fn take(&mut self, end: usize) -> Result<Vec<u8>, FrameError> {
        if end > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        let rest = self.buffer.split_off(end + 1);
        let mut message = std::mem::replace(&mut self.buffer, rest);
        message.truncate(end);
        self.searched = 0;
        Ok(message)
    }
}

/// The most that is read at once.
const READ_OCTETS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stream: &[u8], limit: usize) -> Vec<Result<Option<Vec<u8>>, String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut framer = Framer::new(stream, limit);
            let mut out = Vec::new();
            loop {
                let next = framer.next().await.map_err(|error| error.to_string());
                let last = !matches!(next, Ok(Some(_)));
                out.push(next);
                if last {
                    return out;
                }
            }
        })
    }

    #[test]
    fn messages_are_cut_at_each_nul() {
        assert_eq!(
            all(b"ab\0\0cde\0", 8),
            [Ok(Some(b"ab".to_vec())), Ok(Some(vec![])), Ok(Some(b"cde".to_vec())), Ok(None)]
        );
    }

    #[test]
    fn an_unfinished_message_is_no_message() {
        assert_eq!(all(b"ab\0cd", 8), [Ok(Some(b"ab".to_vec())), Ok(None)]);
    }

    #[test]
    fn a_message_of_the_limit_passes_and_one_octet_more_does_not() {
        assert_eq!(all(b"abcd\0", 4), [Ok(Some(b"abcd".to_vec())), Ok(None)]);
        for stream in [&b"abcde\0"[..], b"abcde"] {
            assert_eq!(all(stream, 4), [Err("the message is longer than 4 octets".to_owned())]);
        }
    }

    #[test]
    fn a_message_that_arrives_in_pieces_is_one_message() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (first, rest) = (&b"ab"[..], &b"cd\0ef\0"[..]);
            let mut framer = Framer::new(first.chain(rest), 8);
            assert_eq!(framer.next().await.unwrap(), Some(b"abcd".to_vec()));
            assert_eq!(framer.next().await.unwrap(), Some(b"ef".to_vec()));
        });
    }
}
