use std::time::Duration;

use services::Elasticsearch;

use super::*;
use crate::generator;

fn elastic(server: &Elasticsearch) -> Elastic {
    let settings = ElasticSettings::new(&server.url()).unwrap().index("replaced").unwrap();
    let settings = settings.timeouts(Duration::from_secs(30), Duration::from_secs(300));
    Elastic::new(settings, Analyzer::shared().clone()).unwrap()
}

fn rebuild(index: &Elastic, position: &str) {
    let mut rebuild = index.rebuild().unwrap();
    rebuild.add(generator::products(2, 20).into_iter().map(|item| item.product).collect()).unwrap();
    rebuild.finish(Position::new(position).as_ref()).unwrap();
}

/// A writer that is stopped between its steps while another process replaces the index.
#[test]
fn a_write_to_an_index_that_was_replaced_does_not_move_the_position() {
    let Some(server) = Elasticsearch::start() else { return };
    let (first, second) = (elastic(&server), elastic(&server));
    rebuild(&first, "7");
    let old = first.current().unwrap();
    let before = write::position(&first.client, &old).unwrap();
    assert_eq!(before.position, Position::new("7"));

    // The second index has the same position, and the same history of it.
    rebuild(&second, "7");
    let to = Position::new("8").unwrap();
    let change = Change::Remove { id: generator::products(2, 1)[0].product.id, version: 9 };
    let written = write::write(&first.client, &first.analyzer, &old, &[&change], Replace::Older, true);
    assert!(matches!(written, Ok(_) | Err(IndexError::Moved)), "{written:?}");
    assert!(!write::move_position(&first.client, &old, &before, &to).unwrap());
    assert_eq!(first.check_in_place(&old), Err(IndexError::Moved));
    assert_eq!(first.position().unwrap(), Position::new("7"));
    let left = first.client.ask("GET", &format!("/{old}"), None).unwrap();
    assert_eq!(left.status, 404, "the write made the old index again: {}", left.body);

    // Two writers that have read the same position.
    let index = first.current().unwrap();
    let before = write::position(&first.client, &index).unwrap();
    assert!(write::move_position(&second.client, &index, &before, &to).unwrap());
    assert!(!write::move_position(&first.client, &index, &before, &to).unwrap());
    let step = Advance { from: Position::new("7"), to: Position::new("9").unwrap() };
    assert_eq!(first.apply(&[change], Some(&step)), Err(IndexError::Moved));
    assert_eq!(first.position().unwrap(), Some(to));
}
