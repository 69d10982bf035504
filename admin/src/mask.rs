//! Personal data as a role may see it: viewers see enough to recognise a person, and not enough to reach one.

use serde_json::Value;
use store::{RegisteredUser, StaffOrder};

use crate::actions::Role;

/// The members of an address that name a person or a door.
const ADDRESS_TEXTS: [&str; 2] = ["recipient", "detail"];

/// `13800138000` becomes `138****8000`; less is left of shorter numbers.
fn phone(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (head, tail) = if chars.len() >= 10 { (3, 4) } else { (0, chars.len().min(2)) };
    let kept = |range: &[char]| range.iter().collect::<String>();
    format!("{}****{}", kept(&chars[..head]), kept(&chars[chars.len() - tail..]))
}

/// The first character, and asterisks.
fn text(text: &str) -> String {
    text.chars().next().map_or_else(String::new, |first| format!("{first}**"))
}

/// An order as `role` may see it.
pub(crate) fn order(mut order: StaffOrder, role: Role) -> StaffOrder {
    if let (Role::Viewer, Some(Value::Object(address))) = (role, &mut order.order.address) {
        for (name, value) in address.iter_mut() {
            let Value::String(shown) = value else { continue };
            if name == "phone" {
                *shown = phone(shown);
            } else if ADDRESS_TEXTS.contains(&&**name) {
                *shown = text(shown);
            }
        }
    }
    order
}

/// A user as `role` may see it.
pub(crate) fn user(mut user: RegisteredUser, role: Role) -> RegisteredUser {
    if role == Role::Viewer {
        user.user.phone = user.user.phone.as_deref().map(phone);
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_recognised_and_not_dialled() {
        for (number, expect) in [
            ("13800138000", "138****8000"),
            ("+8613800138000", "+86****8000"),
            ("010-1234", "****34"),
            ("1", "****1"),
            ("", "****"),
        ] {
            assert_eq!(phone(number), expect);
        }
        assert_eq!((text("王小明"), text("")), ("王**".to_owned(), String::new()));
    }
}
