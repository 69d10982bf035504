//! Entry tickets, and the challenges that some of them need.

use contract::{ActivityId, UserId, activity::Door, ticket::Subject};

use super::{Handlers, Turn, WrittenAnswer};
use crate::{
    Answer, Now, board,
    http::Headers,
    tickets::{Application, TicketRequest},
};

impl Handlers {
    /// `POST /api/v1/seckill/activities/{activity_id}/tickets`.
    pub(super) fn ticket(&mut self, turn: &mut Turn<'_, '_>, activity: Option<ActivityId>, now: Now) -> WrittenAnswer {
        let brought = match TicketRequest::read(turn.head.fields.content_type, turn.body) {
            Ok(brought) => brought,
            Err(refusal) => return turn.refuse_body(&refusal),
        };
        let (activity, user) = match self.entrant(turn, activity, now) {
            Ok(entrant) => entrant,
            Err(answered) => return answered,
        };
        let (door, _) = self.board.door(activity, user);
        let ends_at_ms = self.board.sale(activity).map_or(0, |(activity, _)| activity.rules.ends_at_ms);
        if door == Door::Captcha
            && let Some(wait_s) = self.tickets.wait_s(user, now.wall_ms)
        {
            return turn.refuse_until(wait_s);
        }
        let nonce = self.nonce();
        let application = Application { door, subject: Subject { activity, user }, brought: &brought, ends_at_ms };
        match self.tickets.issue(&application, nonce, now.wall_ms) {
            Err(answer) => turn.refuse(answer),
            Ok((ticket, expires_at_ms)) => {
                let expires_at = board::Rfc3339Ms(expires_at_ms);
                let json = format_args!(r#"{{"ticket":"{ticket}","expires_at":"{expires_at}"}}"#);
                turn.say_json(Answer::TicketIssued, None, json)
            }
        }
    }

    /// `GET /api/v1/seckill/activities/{activity_id}/challenge`: an image, and in the header `challenge` what to send
    /// back with the text in the image.
    pub(super) fn challenge(
        &mut self,
        turn: &mut Turn<'_, '_>,
        activity: Option<ActivityId>,
        now: Now,
    ) -> WrittenAnswer {
        let (activity, user) = match self.entrant(turn, activity, now) {
            Ok(entrant) => entrant,
            Err(answered) => return answered,
        };
        if self.board.door(activity, user).0 != Door::Captcha {
            return turn.refuse(Answer::NoChallenge);
        }
        if let Some(wait_s) = self.tickets.wait_s(user, now.wall_ms) {
            return turn.refuse_until(wait_s);
        }
        if let Err(limited) = self.gate.take_challenge(user, now) {
            return turn.refuse_limited(limited);
        }
        let (subject, nonce) = (Subject { activity, user }, self.nonce());
        let Some((challenge, image)) = self.tickets.challenge(subject, nonce, now.wall_ms) else {
            return turn.refuse(Answer::Unavailable);
        };
        let headers = Headers { content_type: Some("image/png"), challenge: Some(&challenge), ..Headers::default() };
        turn.write(Answer::Read, &headers, &image)
    }

    /// The user and the sale that the user may enter now.
    fn entrant(
        &mut self,
        turn: &mut Turn<'_, '_>,
        activity: Option<ActivityId>,
        now: Now,
    ) -> Result<(ActivityId, UserId), WrittenAnswer> {
        let known = activity.filter(|activity| self.gate.may_have_activity(*activity));
        let refusal = match known {
            _ if !self.caught_up => Answer::Unavailable,
            None => Answer::UnknownActivity,
            Some(activity) => {
                let user = self.authorize(turn, now)?;
                match self.refused_entry(activity, user, now) {
                    None => return Ok((activity, user)),
                    Some(answer) => answer,
                }
            }
        };
        Err(turn.refuse(refusal))
    }

    /// The refusal of a reservation, and in addition: nobody enters before the start or after the end, not even a user
    /// who is known to have bought.
    fn refused_entry(&self, activity: ActivityId, user: UserId, now: Now) -> Option<Answer> {
        self.board.refusal(activity, user, now.wall_ms).or_else(|| {
            let rules = self.board.sale(activity)?.0.rules;
            if now.wall_ms < rules.starts_at_ms {
                Some(Answer::NotStarted)
            } else {
                (now.wall_ms >= rules.ends_at_ms).then_some(Answer::Ended)
            }
        })
    }
}
