//! Parcels of many orders from a file.

use std::collections::BTreeMap;

use contract::OrderId;
use domain::order_state::{Fulfilment, OrderState};
use foundation::Clock;

use super::{Column, Effect, Mode, Problem, Report, Table, deadline_ms};
use crate::{
    actions::{
        Api, Refusal, Staff,
        fields::line,
        orders::{self, SHIPMENT_CHARS_MAX},
    },
    csv::Row,
};

/// The columns of a file of shipments.
pub(crate) const COLUMNS: [Column; 3] = [
    Column { name: "order_id", zh: "订单号", is_needed: true },
    Column { name: "carrier", zh: "快递公司", is_needed: true },
    Column { name: "tracking_no", zh: "运单号", is_needed: true },
];

/// All rows in their order, with what became of each or would.
pub(crate) async fn run<K: Sync, C: Clock>(api: &Api<K, C>, staff: &Staff, table: &Table, mode: Mode) -> Vec<Report> {
    let deadline_ms = deadline_ms(api);
    let (mut lines, mut reports) = (BTreeMap::new(), Vec::with_capacity(table.rows.len()));
    for row in &table.rows {
        let outcome = if mode == Mode::CarryOut && api.clock.now_ms() >= deadline_ms {
            Err(Problem::NoTimeLeft)
        } else {
            take((api, staff, mode), (table, row), &mut lines).await
        };
        let subject = table.cell(row, "order_id").chars().take(SHIPMENT_CHARS_MAX).collect();
        reports.push(Report { line: row.line, subject, outcome });
    }
    reports
}

async fn take<K: Sync, C: Clock>(
    (api, staff, mode): (&Api<K, C>, &Staff, Mode),
    (table, row): (&Table, &Row),
    lines: &mut BTreeMap<OrderId, usize>,
) -> Result<Effect, Problem> {
    table.check(row)?;
    let id = read_id(table.cell(row, "order_id"))?;
    let [carrier, tracking_no] =
        ["carrier", "tracking_no"].map(|column| table.cell(row, column).trim_start_matches('\''));
    line(carrier, SHIPMENT_CHARS_MAX, "carrier")?;
    line(tracking_no, SHIPMENT_CHARS_MAX, "tracking_no")?;
    if let Some(line) = lines.insert(id, row.line) {
        lines.insert(id, line);
        return Err(Problem::Repeats(line));
    }
    let order = api.store.orders().staff_order(id).await.map_err(Refusal::from)?.ok_or(Problem::UnknownOrder)?.order;
    let parcel = |name: &str| order.shipment.as_ref().and_then(|shipment| shipment[name].as_str());
    if parcel("carrier") == Some(carrier) && parcel("tracking_no") == Some(tracking_no) {
        return Ok(Effect::Nothing);
    }
    if order.state != OrderState::Bought(Fulfilment::Paid) {
        return Err(Problem::NotToShip(order.state.as_str()));
    }
    if order.address.is_none() {
        return Err(Problem::NoAddress);
    }
    if mode == Mode::CarryOut {
        orders::ship(api, staff, id, (carrier, tracking_no)).await?;
    }
    Ok(Effect::Ships)
}

fn read_id(text: &str) -> Result<OrderId, Problem> {
    let digits = text.trim_start_matches('\'');
    if digits.contains(['E', 'e', '.']) {
        let detail = "a spreadsheet has rounded the number; format the column as text".to_owned();
        return Err(Problem::Value { column: "order_id", detail });
    }
    digits.parse().map_err(|_| Problem::UnknownOrder)
}
