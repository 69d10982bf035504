use super::*;
use crate::testing::document;

#[tokio::test]
async fn the_document_is_what_is_served() {
    let app = TestApp::new().await;
    document::is_whole(&app.router).await;
    document::has_every_route(&app.router).await;
    let admin = TokenKey::new(SECRET, Audience::Admin);
    let foreign = admin.sign(UserId::from_i64(1).unwrap(), Some("admin"), START_MS / 1000, 60);
    document::tells_who_may(&app.router, &[foreign], &[]).await;
}
