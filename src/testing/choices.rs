//! A fuzzer's bytes as decisions.

/// Bytes from whose start decisions are taken, for bodies of fuzz targets.
///
/// Where nothing is left every decision is zero, so that each input says something, and a shorter
/// one mostly says less.
///
/// ```
/// use tidemill::testing::Choices;
///
/// let mut choices = Choices::new(b"\x01\x07rest");
/// assert!(choices.flag());
/// assert_eq!(choices.below(5), 2);
/// assert_eq!(choices.bytes(3), b"res");
/// assert_eq!(choices.clone().rest(), b"t");
/// assert_eq!(choices.bytes(3), b"t");
/// assert_eq!(choices.below(5), 0);
/// ```
#[derive(Clone, Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All decisions that these bytes hold.
    pub fn new(bytes: &'a [u8]) -> Choices<'a> {
        Choices(bytes)
    }

    /// Whether no decision is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// Yes or no.
    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number of 16 bits.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// A number below `bound`, of at most 16 bits.
    ///
    /// # Panics
    /// `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 { u16::from(self.byte()) } else { self.short() };
        usize::from(number) % bound
    }

    /// So many bytes as they are, or as many as are left.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
