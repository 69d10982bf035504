//! Appending to Kafka.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext},
    types::RDKafkaErrorCode,
};
use tokio::sync::oneshot;

use super::unknown;
use crate::{LANDS_WITHIN_MS, LogError, NewRecord};

/// Records that may wait for their acknowledgement; more are refused.
const WAITING_MAX: usize = 200_000;
/// How long an append waits before its outcome is unknown.
const APPEND_MAX: Duration = Duration::from_secs(10);
/// Records that come within this many milliseconds share a request.
const LINGER_MS: &str = "1";

/// How long the thread that passes acknowledgements on waits for one before it looks whether it is still
/// needed. The client spends the last millisecond of each wait asking for the time, so waits are long.
const ACK_WAIT: Duration = Duration::from_secs(1);

/// Notices when a client can't go on.
#[derive(Clone, Default)]
struct Context {
    fatal: Arc<AtomicBool>,
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::GaplessGuarantee)) {
            self.fatal.store(true, Ordering::Release);
            tracing::warn!(%error, reason, "the log's producer starts over");
        }
        // The client repeats this for each unreachable broker; an append that fails reports it once.
        tracing::debug!(%error, reason, "the log's producer");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, append: Self::DeliveryOpaque) {
        // An append that has waited too long no longer listens.
        drop(append.send(result.as_ref().map(drop).map_err(|(error, _)| error.clone())));
    }
}

/// A client of the brokers and the thread that passes acknowledgements on, which ends soon after the last of
/// its users.
#[derive(Clone)]
struct Client {
    producer: Arc<BaseProducer<Context>>,
    context: Context,
}

impl Client {
    fn connect(config: &ClientConfig) -> Result<Self, LogError> {
        let context = Context::default();
        let producer: BaseProducer<Context> =
            config.create_with_context(context.clone()).map_err(|error| unknown(&error))?;
        let producer = Arc::new(producer);
        let polled = producer.clone();
        let poll = move || {
            while Arc::strong_count(&polled) > 1 {
                polled.poll(ACK_WAIT);
            }
        };
        let thread = std::thread::Builder::new().name("kafka-acks".to_owned()).spawn(poll);
        thread.map_err(|error| LogError::Unknown(format!("no thread for acknowledgements: {error}")))?;
        Ok(Self { producer, context })
    }
}

/// Appends records, each partition's in order and without a gap.
pub(super) struct Producer {
    config: ClientConfig,
    client: Mutex<Client>,
    waiting: Arc<AtomicUsize>,
}

/// Gives the room of an append back, however it ends.
struct Room {
    waiting: Arc<AtomicUsize>,
    records: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.records, Ordering::AcqRel);
    }
}

impl Producer {
    pub(super) fn new(mut config: ClientConfig) -> Result<Self, LogError> {
        config.set("enable.idempotence", "true").set("acks", "all").set("enable.gapless.guarantee", "true");
        // Longer than an append waits: what librdkafka gives up leaves a gap, and the producer starts over.
        config.set("message.timeout.ms", LANDS_WITHIN_MS.to_string()).set("linger.ms", LINGER_MS);
        // What is refused is refused here, before anything of an append is sent.
        config.set("queue.buffering.max.messages", (10 * WAITING_MAX).to_string());
        config.set("queue.buffering.max.kbytes", "1048576").set("compression.type", "lz4");
        let client = Mutex::new(Client::connect(&config)?);
        Ok(Self { config, client, waiting: Arc::default() })
    }

    /// The client; a new one where the last can't go on.
    fn client(&self) -> Result<Client, LogError> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if current.context.fatal.load(Ordering::Acquire) {
            tracing::warn!("the log's producer is recreated");
            *current = Client::connect(&self.config)?;
        }
        Ok(current.clone())
    }

    pub(super) async fn append(&self, prefix: &str, records: &[NewRecord], partitions: &[u32]) -> Result<(), LogError> {
        let size = records.len();
        let room = Room { waiting: self.waiting.clone(), records: size };
        if self.waiting.fetch_add(size, Ordering::AcqRel) + size > WAITING_MAX {
            return Err(LogError::Full("too many records wait for Kafka"));
        }
        let client = self.client()?;
        let mut deliveries = Vec::with_capacity(size);
        for (record, partition) in records.iter().zip(partitions) {
            let topic = format!("{prefix}{}", record.topic);
            let number = i32::try_from(*partition).map_err(|_| LogError::Unknown("too many partitions".to_owned()))?;
            let (append, delivery) = oneshot::channel();
            let message = BaseRecord::with_opaque_to(&topic, Box::new(append));
            let message = message.partition(number).key(&record.key).payload(&record.value);
            client.producer.send(message).map_err(|(error, _)| unknown(&error))?;
            deliveries.push(delivery);
        }
        let delivered = async {
            for delivery in deliveries {
                match delivery.await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Err(unknown(&error)),
                    Err(_) => return Err(LogError::Unknown("the producer ended".to_owned())),
                }
            }
            Ok(())
        };
        let result = within(APPEND_MAX, delivered).await;
        drop(room);
        result.unwrap_or_else(|| Err(LogError::Unknown(format!("Kafka has not acknowledged it within {APPEND_MAX:?}"))))
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, work).await.ok()
}
