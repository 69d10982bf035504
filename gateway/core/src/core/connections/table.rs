//! The table of connections.

use super::connection::Connection;
use crate::ids::ConnId;

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// The table of connections.
#[derive(Debug, Default)]
pub(super) struct ConnectionTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    open: usize,
}

impl ConnectionTable {
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    pub(super) fn insert(&mut self, connection: Connection) -> ConnId {
        self.open += 1;
        let connection = Some(Box::new(connection));
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            assert!(slot.connection.is_none(), "slot {index} is in use");
            slot.connection = connection;
            return ConnId::new(index, slot.generation);
        }
        let index = u32::try_from(self.slots.len()).unwrap_or_else(|_| panic!("more than 2^32 connections"));
        self.slots.push(Slot { generation: 0, connection });
        ConnId::new(index, 0)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Connection> {
        let slot = self.slots.get(id.index()).filter(|slot| slot.generation == id.generation())?;
        slot.connection.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.slot(id)?.connection.as_deref_mut()
    }

    pub(super) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slot(id)?;
        let connection = slot.connection.take()?;
        // A slot whose generations are used up stays empty: its ids must not be given out twice.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(id.slot());
        }
        assert!(self.open > 0, "a connection was closed while none was open");
        self.open -= 1;
        Some(connection)
    }

    /// All that are open.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.slots
            .iter()
            .zip(0..)
            .filter(|(slot, _)| slot.connection.is_some())
            .map(|(slot, index)| ConnId::new(index, slot.generation))
    }

    fn slot(&mut self, id: ConnId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation())
    }
}
