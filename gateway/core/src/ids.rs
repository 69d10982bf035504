//! The ids by which the parts of a core refer to a connection and to what it waits for.

/// A connection of this core. The id is never given to another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    index: u32,
    generation: u32,
}

impl ConnId {
    /// `generation` counts the connections that have had the slot `index`.
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot in tables of the core's connections. After the connection is closed, another one takes it.
    pub const fn index(self) -> usize {
        self.index as usize
    }

    pub(crate) const fn slot(self) -> u32 {
        self.index
    }

    pub(crate) const fn generation(self) -> u32 {
        self.generation
    }
}

/// One reservation in the queue, as its connection knows it. An outcome with another id is not for that connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WaitId(u64);

impl WaitId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }
}
