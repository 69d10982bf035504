//! Entry tickets, and the challenges before some of them.

use contract::{ActivityId, UserId, ticket::Subject};

use super::{
    Core,
    connection::Phase,
    serve::{Answered, Turn},
};
use crate::{
    Answer, board,
    http::{Headers, respond},
    tickets::TicketRequest,
};

impl Core {
    /// `POST /api/v1/seckill/activities/{activity_id}/tickets`.
    pub(super) fn ticket(&mut self, turn: &mut Turn<'_, '_>, activity: Option<ActivityId>) -> Phase {
        let brought = match TicketRequest::read(turn.head.fields.content_type, turn.body) {
            Ok(brought) => brought,
            Err(refusal) => return self.refuse_body(turn, &refusal),
        };
        let Ok((activity, user)) = self.entrant(turn, activity) else { return Phase::Receiving };
        let (door, _) = self.board.door(activity, user);
        let ends_at_ms = self.board.sale(activity).map_or(0, |(activity, _)| activity.rules.ends_at_ms);
        let (nonce, times) = (self.nonce(), (self.now.wall_ms, ends_at_ms));
        match self.tickets.issue(door, Subject { activity, user }, &brought, nonce, times) {
            Err(answer) => self.refuse_turn(turn, answer),
            Ok((ticket, expires_at_ms)) => {
                let expires_at = board::Rfc3339Ms(expires_at_ms);
                let json = format_args!(r#"{{"ticket":"{ticket}","expires_at":"{expires_at}"}}"#);
                self.say_json(turn, Answer::TicketIssued, None, json)
            }
        }
    }

    /// `GET /api/v1/seckill/activities/{activity_id}/challenge`: a picture, and in the header `challenge`
    /// what to send back with what it says.
    pub(super) fn challenge(&mut self, turn: &mut Turn<'_, '_>, activity: Option<ActivityId>) -> Phase {
        let Ok((activity, user)) = self.entrant(turn, activity) else { return Phase::Receiving };
        if self.board.door(activity, user).0 != contract::activity::Door::Captcha {
            return self.refuse_turn(turn, Answer::NoChallenge);
        }
        if let Err(limited) = self.gate.take_challenge(user, self.now) {
            return self.limited(turn, limited);
        }
        let (subject, nonce) = (Subject { activity, user }, self.nonce());
        let Some((challenge, image)) = self.tickets.challenge(subject, nonce, self.now.wall_ms) else {
            return self.refuse_turn(turn, Answer::Unavailable);
        };
        self.stats.count(Answer::Read);
        let headers = Headers { content_type: Some("image/png"), challenge: Some(&challenge), ..Headers::default() };
        respond(turn.out, &turn.exchange, Answer::Read, &headers, &[&image]);
        Phase::Receiving
    }

    /// Who asks to enter which sale, if it runs and he may.
    fn entrant(
        &mut self,
        turn: &mut Turn<'_, '_>,
        activity: Option<ActivityId>,
    ) -> Result<(ActivityId, UserId), Answered> {
        let known = activity.filter(|activity| self.gate.screen.may_have_activity(*activity));
        let refusal = match known {
            _ if !self.caught_up => Answer::Unavailable,
            None => Answer::UnknownActivity,
            Some(activity) => {
                let user = self.authorize(turn)?;
                match self.refused_entry(activity, user) {
                    None => return Ok((activity, user)),
                    Some(answer) => answer,
                }
            }
        };
        self.refuse_turn(turn, refusal);
        Err(Answered)
    }

    /// As a request for units would be refused; and nobody enters before the start or after the end, whatever
    /// is known of him.
    fn refused_entry(&self, activity: ActivityId, user: UserId) -> Option<Answer> {
        let wall_ms = self.now.wall_ms;
        self.board.refusal(activity, user, wall_ms).or_else(|| {
            let rules = self.board.sale(activity)?.0.rules;
            if wall_ms < rules.starts_at_ms {
                Some(Answer::NotStarted)
            } else {
                (wall_ms >= rules.ends_at_ms).then_some(Answer::Ended)
            }
        })
    }
}
