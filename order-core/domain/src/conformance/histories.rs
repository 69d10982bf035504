//! Random histories of a ledger, taken in with repeats, as by a journal worker that is killed now and then.

use contract::{
    OperationId, UserId,
    record::{LedgerCommand, Record},
    stock::{Command, Ledger, RequestKey, Reservation},
    topic,
};

use super::{Fixture, NOW_MS, PAY_WITHIN_MS, Sale, activity, order};
use crate::SaleStore;

/// Numbers from a seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn small(&mut self, end: u32) -> u32 {
        u32::try_from(self.below(end.into())).unwrap_or(0)
    }

    fn id(&mut self, end: u64) -> i64 {
        i64::try_from(self.below(end)).unwrap_or(0)
    }
}

/// One random history of `steps` commands: the database must then equal the ledger exactly.
///
/// # Panics
/// If they differ.
pub async fn histories<F: Fixture>(fixture: &F, seed: u64, steps: i64) {
    let store = fixture.fresh().await;
    let activity = activity(1, 4200);
    fixture.put_activity(&store, &activity).await;
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut sale = Sale::open(1, dice.below(30));
    let mut taken = 0;
    for step in 1..=steps {
        let command = random_command(&mut dice, step);
        sale.apply(command);
        if dice.below(5) == 0 {
            let from = usize::try_from(dice.below(taken as u64 + 1)).unwrap_or(0);
            store
                .take_in(&crate::Line::in_order(&sale.journal[from..]), NOW_MS + 9)
                .await
                .expect("entries are taken in");
            taken = sale.journal.len();
            pay_and_close(&store, &mut dice, &mut sale, step).await;
        }
        if dice.below(9) == 0 {
            check(&store, &sale, taken).await;
        }
    }
    store.take_in(&crate::Line::in_order(&sale.journal[taken..]), NOW_MS + 9).await.expect("entries are taken in");
    check(&store, &sale, sale.journal.len()).await;
}

fn random_command(dice: &mut Dice, step: i64) -> Command {
    match dice.below(120) {
        0..10 => Command::Settle(order(dice.id(60))),
        10..20 => Command::Release(order(dice.id(60))),
        20 => Command::End { ends_at_ms: NOW_MS },
        21..30 => {
            let operation = OperationId::from_i64(dice.id(20)).expect("an id");
            Command::Restock { operation, delta: dice.id(9) - 4 }
        }
        _ => {
            let user = dice.id(12);
            let named = dice.below(2) == 0;
            let request = named.then(|| RequestKey([u8::try_from(user * 8 + dice.id(8)).unwrap_or(0); 16]));
            let user = UserId::from_i64(user).expect("an id");
            Command::Reserve(Reservation { order: order(step), user, request, quantity: 1 + dice.small(3) })
        }
    }
}

/// Pays and closes some orders; the ledger then carries out the commands in the outbox.
async fn pay_and_close<S: SaleStore>(store: &S, dice: &mut Dice, sale: &mut Sale, last: i64) {
    let some = [order(dice.id(60) % (last + 1)), order(dice.id(60) % (last + 1))];
    store.mark_paid(some[0], NOW_MS).await.expect("paid or refused");
    store.close_unpaid(&some, NOW_MS + 2 * PAY_WITHIN_MS).await.expect("closed or not");
    let rows = store.outbox(100_000).await.expect("the outbox");
    for row in rows.iter().filter(|row| row.topic == topic::COMMANDS) {
        let command = LedgerCommand::decode(&row.value).expect("a command");
        sale.apply(command.action.into());
    }
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    store.outbox_sent(&ids).await.expect("forgotten");
}

/// Compares the database with a ledger replayed from the first `taken` entries.
async fn check<S: SaleStore>(store: &S, sale: &Sale, taken: usize) {
    let snapshots = store.snapshots().await.expect("snapshots");
    let Some(snapshot) = snapshots.first() else {
        assert_eq!(taken, 0, "a ledger that was opened is mirrored");
        return;
    };
    let replayed = Ledger::from_journal(&sale.journal[..taken]).expect("the journal has no gaps");
    let ledger = replayed.expect("it begins with the opening");
    assert_eq!(*snapshot, ledger.snapshot());
    let restored = Ledger::restore(snapshot).expect("a snapshot that adds up");
    assert_eq!(restored.counters(), ledger.counters());
    assert_eq!(restored.snapshot(), ledger.snapshot());

    let counts = store.audit_counts(ledger.activity()).await.expect("counts").expect("mirrored");
    let counters = ledger.counters();
    assert_eq!((counts.total, counts.stock_left), (counters.total, counters.available));
    assert_eq!((counts.by_hold.held, counts.by_hold.sold), (counters.held, counters.sold));
    let accepted = counts.by_hold.held + counts.by_hold.sold + counts.by_hold.released;
    assert_eq!((counts.by_status.all(), counts.by_status.missing), (accepted, 0));
}
