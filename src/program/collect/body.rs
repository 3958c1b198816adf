//! The body of a request, unpacked, within bounds that hold while it is unpacked.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// Most bytes of a body, packed or unpacked.
pub const BODY_MAX: usize = 16 * 1024 * 1024;
/// Largest window of zstd, as a power of two: what every decoder has to take, and no more.
const WINDOW_LOG: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// It is not.
    Identity,
    /// By gzip, also in several members.
    Gzip,
    /// By zstd.
    Zstd,
}

impl Packing {
    /// What `Content-Encoding` says. `None`: nothing that is known here.
    pub fn of(encoding: &str) -> Option<Self> {
        let is = |name: &str| encoding.trim().eq_ignore_ascii_case(name);
        if is("") || is("identity") {
            Some(Self::Identity)
        } else if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// The body as it was before it was packed.
    pub fn unpack(self, body: Vec<u8>) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => all_of(MultiGzDecoder::new(&body[..])),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::new(&body[..])?;
                decoder.window_log_max(WINDOW_LOG)?;
                all_of(decoder)
            }
        }
    }
}

/// All that comes, up to the bound; an error where it breaks off.
fn all_of(input: impl Read) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    input.take(BODY_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BODY_MAX {
        return Err(Refused::TooLarge);
    }
    Ok(bytes)
}

/// Why a body cannot be taken.
#[derive(Debug)]
pub enum Refused {
    /// It is larger than [`BODY_MAX`].
    TooLarge,
    /// It is not packed as it says.
    Damaged(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out() {
        for length in [0, 1, 100_000, BODY_MAX] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let zstd = zstd::encode_all(&bytes[..], 1).unwrap();
            assert!(Packing::Zstd.unpack(zstd).unwrap() == bytes, "{length}");
            assert!(
                Packing::Gzip.unpack(gzip(&bytes)).unwrap() == bytes,
                "{length}"
            );
        }
        let twice = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(Packing::Gzip.unpack(twice).unwrap(), b"one two");
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let zeros = vec![0; BODY_MAX + 1];
        let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
        for (packing, body) in [(Packing::Gzip, gzip(&zeros)), (Packing::Zstd, zstd)] {
            assert!(matches!(packing.unpack(body), Err(Refused::TooLarge)));
        }
    }

    #[test]
    fn what_is_cut_off_or_nothing_of_the_kind_is_damaged() {
        let packed = gzip(&[7; 10_000]);
        for body in [&packed[..packed.len() - 9], b"no gzip"] {
            let unpacked = Packing::Gzip.unpack(body.to_vec());
            assert!(matches!(unpacked, Err(Refused::Damaged(_))), "{body:?}");
        }
        let packed = zstd::encode_all(&vec![7; 10_000][..], 1).unwrap();
        for body in [&packed[..packed.len() - 9], b"no zstd"] {
            let unpacked = Packing::Zstd.unpack(body.to_vec());
            assert!(matches!(unpacked, Err(Refused::Damaged(_))), "{body:?}");
        }
    }
}
