//! TLS over the halves of a connection, whatever the runtime.

use std::{
    cell::RefCell,
    io::{self, Read as _, Write as _},
    rc::Rc,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::net::{Reader, Writer};

/// Room for one read; a record of TLS has at most this and a few bytes more.
const READ_BYTES: usize = 16 * 1024;

/// The state that both halves share. It is borrowed between awaits only.
type Session = Rc<RefCell<ClientConnection>>;

/// The reading half.
pub(crate) struct TlsReader<R> {
    reader: R,
    session: Session,
    /// What came and is not decrypted yet begins at `used`.
    records: Vec<u8>,
    used: usize,
}

/// The writing half.
pub(crate) struct TlsWriter<W> {
    writer: W,
    session: Session,
    records: Vec<u8>,
}

/// Verifies the server, which must be `host`, and agrees on keys with it.
pub(crate) async fn handshake<R: Reader, W: Writer>(
    config: Arc<ClientConfig>,
    host: &str,
    reader: R,
    writer: W,
) -> io::Result<(TlsReader<R>, TlsWriter<W>)> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
    let session = Rc::new(RefCell::new(session));
    let mut reader = TlsReader { reader, session: session.clone(), records: Vec::with_capacity(READ_BYTES), used: 0 };
    let mut writer = TlsWriter { writer, session: session.clone(), records: Vec::new() };
    loop {
        writer.flush().await?;
        if !session.borrow().is_handshaking() {
            return Ok((reader, writer));
        }
        if let Err(error) = reader.take_records().await {
            // The server learns from an alert why its certificate was refused.
            drop(writer.flush().await);
            return Err(error);
        }
    }
}

impl<R: Reader> TlsReader<R> {
    /// Decrypts what is there, or reads more.
    async fn take_records(&mut self) -> io::Result<()> {
        if self.used == self.records.len() {
            let mut records = std::mem::take(&mut self.records);
            records.clear();
            let result;
            (result, self.records) = self.reader.read(records).await;
            self.used = 0;
            if result? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let mut session = self.session.borrow_mut();
        self.used += session.read_tls(&mut &self.records[self.used..])?;
        session.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(())
    }

    /// What is decrypted already; `None` where that is nothing.
    fn plain(&self, buf: &mut Vec<u8>) -> Option<io::Result<usize>> {
        let at = buf.len();
        buf.resize(buf.capacity(), 0);
        let result = self.session.borrow_mut().reader().read(&mut buf[at..]);
        buf.truncate(at + result.as_ref().copied().unwrap_or(0));
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }
}

impl<R: Reader> Reader for TlsReader<R> {
    async fn read(&mut self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        loop {
            if let Some(result) = self.plain(&mut buf) {
                return (result, buf);
            }
            if let Err(error) = self.take_records().await {
                return (Err(error), buf);
            }
        }
    }
}

impl<W: Writer> TlsWriter<W> {
    /// Sends the records that are ready.
    async fn flush(&mut self) -> io::Result<()> {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        while self.session.borrow().wants_write() {
            self.session.borrow_mut().write_tls(&mut records)?;
        }
        if records.is_empty() {
            return Ok(());
        }
        let result;
        (result, self.records) = self.writer.write_all(records).await;
        result
    }
}

impl<W: Writer> Writer for TlsWriter<W> {
    async fn write_all(&mut self, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut at = 0;
        while at < buf.len() {
            // It takes what its buffer has room for.
            let taken = self.session.borrow_mut().writer().write(&buf[at..]);
            let sent = match taken {
                Ok(taken) => {
                    at += taken;
                    self.flush().await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = sent {
                return (Err(error), buf);
            }
        }
        (Ok(()), buf)
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.session.borrow_mut().send_close_notify();
        self.flush().await?;
        self.writer.shutdown().await
    }
}
