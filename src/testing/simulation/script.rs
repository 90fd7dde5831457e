//! What clients say, and what they make of what they hear.

/// What one client says, and what it must hear.
pub struct Script {
    pub(super) says: Vec<u8>,
    pub(super) judge: Box<dyn Judge>,
}

/// What a client makes of what it hears.
pub trait Judge {
    /// More bytes came.
    ///
    /// # Errors
    /// They are wrong; says how.
    fn hear(&mut self, bytes: &[u8]) -> Result<(), String>;

    /// Whether everything has come that is due to somebody who has said everything.
    fn is_content(&self) -> bool;

    /// Whether everything has come that is due for the first so many bytes of what was said: a
    /// handler took as many before it closed its connection in order. By default nothing is.
    fn has_answers(&self, taken_bytes: u64) -> bool {
        let _ = taken_bytes;
        true
    }
}

impl Script {
    /// Says the one, and must hear exactly the other. Whoever has said only a part must hear
    /// nothing but a start of it.
    pub fn exchange(says: impl Into<Vec<u8>>, hears: impl Into<Vec<u8>>) -> Script {
        Script::judged(says, Exchange { hears: hears.into(), heard: 0, is_echo: false })
    }

    /// Says something, and must hear the very same as it is taken.
    pub fn echo(says: impl Into<Vec<u8>>) -> Script {
        let says = says.into();
        Script::judged(says.clone(), Exchange { hears: says, heard: 0, is_echo: true })
    }

    /// Says something, and judges what it hears as it comes.
    pub fn judged(says: impl Into<Vec<u8>>, judge: impl Judge + 'static) -> Script {
        Script { says: says.into(), judge: Box::new(judge) }
    }
}

struct Exchange {
    hears: Vec<u8>,
    heard: usize,
    /// Every byte is answered by itself.
    is_echo: bool,
}

impl Judge for Exchange {
    fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        let due = &self.hears[self.heard..];
        self.heard += bytes.len();
        if due.starts_with(bytes) {
            return Ok(());
        }
        let same = due.iter().zip(bytes).take_while(|(due, byte)| due == byte).count();
        Err(format!("byte {} of the answer is wrong", self.heard - bytes.len() + same))
    }

    fn is_content(&self) -> bool {
        self.heard == self.hears.len()
    }

    fn has_answers(&self, taken_bytes: u64) -> bool {
        !self.is_echo || self.heard as u64 >= taken_bytes
    }
}
