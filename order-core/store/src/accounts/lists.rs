//! Shoppers for staff, with filters, the newest first.

use sqlx::QueryBuilder;

use super::users::{registered, username_key};
use crate::{
    RegisteredUser, StoreError,
    areas::Accounts,
    db::{Db, literal},
    page::{Listed, Page},
};

/// Which users; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct UserQuery {
    /// Whose name begins with this.
    pub name: Option<String>,
    /// Who are blocked, or are not.
    pub blocked: Option<bool>,
}

impl Accounts<'_> {
    /// Shoppers.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn find_users(self, which: &UserQuery, page: Page) -> Result<Listed<RegisteredUser>, StoreError> {
        let mut query = QueryBuilder::<Db>::new("SELECT * FROM users WHERE id < ");
        query.push_bind(page.before);
        if let Some(name) = &which.name {
            let begins = format!("{}%", literal(&username_key(name)));
            query.push(" AND username_key LIKE ").push_bind(begins).push(" ESCAPE '!'");
        }
        if let Some(blocked) = which.blocked {
            query.push(" AND blocked = ").push_bind(i64::from(blocked));
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.rows());
        let rows = query.build().fetch_all(self.store.readers()).await?;
        let rows = rows.iter().map(registered).collect::<Result<_, _>>()?;
        Ok(page.cut(rows, |row: &RegisteredUser| row.user.id.as_i64()))
    }
}
