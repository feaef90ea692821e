//! Before a try: what is reserved, and to how much output that holds the request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ai_api_converter::bound::OutputMember;
use ai_api_converter::profile::profile;
use opm_ledger::{Day, Tier, unix_ms};
use opm_limits::{Charge, Dimension, Mode, Refused, Reservation, Rule, Standing};
use smallvec::SmallVec;

use super::{Account, Destination, Task};
use crate::metering::need::{Amount, Need, Output, Price};
use crate::metering::refused::{Denied, reached, too_small, unpriced, unrecorded};
use crate::metering::rules::Ruled;

/// One entry for each rule that charges a try: eight need no allocation.
type PerRule<T> = SmallVec<[T; 8]>;

/// A try so long after the last reservation is another request for limits of requests: a slot of their minute.
const LATE: Duration = Duration::from_millis(500);

/// A body of so many bytes is estimated roughly first.
const LONG: usize = 16 << 10;

/// What a rough estimate holds too much, until the answer is there, keeps nobody out whom a sixteenth of the limit lets pass.
const ROOM: u64 = 16;

impl<'a> Account<'a> {
    /// Reserves what a try at a channel needs: the first time for the caller too, all in one step.
    pub(crate) async fn reserve(&mut self, to: Destination<'a>) -> Result<(), Denied> {
        if self
            .metering
            .ledger
            .as_ref()
            .is_some_and(|ledger| !ledger.is_accepting())
        {
            return Err(Denied::Request(unrecorded()));
        }
        if self.admitted {
            // A later try: what is held is lowered at the prices that it was reserved at.
            self.refine();
        }
        self.destination = Some(to);
        if !self.holds(to) {
            // How the channel before stands concerns nobody any more.
            self.standings.0.truncate(self.standings.1);
        }
        let price = self.price_at(to);
        let before = self.price.replace(price);
        let rules = &self.snapshot.rules;
        if self.admitted && rules.is_empty() {
            return Ok(());
        }
        // Before they are counted anew.
        let again = self.again && self.counted.elapsed() < LATE;
        if self.admitted {
            // What a window has let go of is reserved anew below.
            self.renew();
        }
        let anew = self.admitted && before.is_some_and(|before| self.outgrows(&price, &before));
        let (who, name) = (self.who, to.channel.name.as_str());
        let mut charged = PerRule::<&Ruled>::new();
        // Possible when nothing else is.
        let is_free = self.asked.task == Task::Free;
        let used = |ruled: &&Ruled| matches!(ruled.rule.dimension(), Dimension::Tokens | Dimension::Money);
        let counts = |ruled: &&Ruled| !(is_free && used(ruled));
        if !self.admitted {
            // What an earlier try may have used stays counted; but it is one request, unless it comes much later.
            let once = |ruled: &&Ruled| !again || ruled.rule.dimension() != Dimension::Requests;
            charged.extend(rules.of_request(&who).filter(once).filter(counts));
        } else if anew {
            let budgets = |ruled: &&Ruled| ruled.rule.dimension() == Dimension::Money;
            charged.extend(rules.of_request(&who).filter(budgets).filter(counts));
        }
        let own = charged.len();
        if !self.holds(to) {
            self.channel_held = None;
            charged.extend(rules.of_channel(&who, (to.number, name)).filter(counts));
        }
        if !charged.is_empty() {
            // The store decides at some time after this.
            let began = Instant::now();
            if let Err(denied) = self.charge(&charged, own, (to, price)).await {
                if anew {
                    // Another channel must not do with what is left.
                    self.take_reservations().for_each(Reservation::release);
                    self.admitted = false;
                }
                return Err(denied);
            }
            self.counted = began;
        }
        self.admitted = true;
        self.bound(to, &price)
    }

    /// The limits of this channel hold the request already.
    fn holds(&self, to: Destination<'_>) -> bool {
        let held = self.channel_held.as_ref();
        held.is_some_and(|(number, _)| *number == to.number)
    }

    /// No channel takes the request now; the limit that lets it pass first stands so.
    pub(crate) fn limited(&mut self, standing: Option<Box<Standing>>) {
        self.standings.0.truncate(self.standings.1);
        self.standings.0.extend(standing.map(|standing| *standing));
    }

    /// Counts what is held from now on: a later try reaches its upstream later, and must not have left the windows by then. False if a
    /// window has let go of it already; it is given back then.
    pub(crate) fn renew(&mut self) -> bool {
        let now = unix_ms();
        self.counted = Instant::now();
        if self.held.as_mut().is_some_and(|held| !held.renew(now)) {
            self.held.take().into_iter().for_each(Reservation::release);
            self.admitted = false;
        }
        if self
            .channel_held
            .as_mut()
            .is_some_and(|(_, held)| !held.renew(now))
        {
            let gone = self.channel_held.take();
            gone.into_iter().for_each(|(_, held)| held.release());
            return false;
        }
        self.admitted
    }

    /// Until when what is held may be sent without [`Account::renew`]; `None`: whenever.
    pub(crate) fn send_by(&self) -> Option<Instant> {
        let now = unix_ms();
        let slack = self.reservations().filter_map(|held| held.slack(now)).min();
        slack.map(|slack| Instant::now() + slack)
    }

    async fn charge(
        &mut self,
        charged: &[&Ruled],
        own: usize,
        (to, price): (Destination<'a>, Price<'a>),
    ) -> Result<(), Denied> {
        let counts = |ruled: &&Ruled| matches!(ruled.rule.dimension(), Dimension::Tokens | Dimension::Money);
        if charged.iter().any(counts) {
            // What other instances hold is only known once the shared store has answered.
            let knows_all = !self.metering.limiter.is_shared();
            self.rough |= self.expected.is_none() && knows_all && self.asked.body.len() >= LONG;
            self.expect(to);
        }
        let mut amounts = self.amounts(charged, (to, price))?;
        if self.rough && !self.has_room(charged, &amounts, to) {
            self.refine();
            amounts = self.amounts(charged, (to, price))?;
        }
        let reserved = self.ask(charged, &amounts, to).await;
        let mut reservation = reserved.map_err(|refused| {
            self.metrics.limit_exceeded(&refused.rule);
            let at = charged
                .iter()
                .position(|ruled| *ruled.rule.name() == refused.rule);
            if at.is_none_or(|at| at < own) {
                self.standings.0.push(refused.standing);
                Denied::Request(reached(&refused))
            } else {
                Denied::Channel(reached(&refused), Some(Box::new(refused.standing)))
            }
        })?;
        let (all, callers) = &mut self.standings;
        if own > 0 && self.held.is_none() {
            *callers = 0;
        }
        all.truncate(*callers);
        reservation.tell_standings(all);
        *callers += own;
        let (held, rest) = reservation.split(own);
        match &mut self.held {
            Some(before) => before.join(held),
            None if own > 0 => self.held = Some(held),
            None => {}
        }
        if charged.len() > own {
            self.channel_held = Some((to.number, rest));
        }
        Ok(())
    }

    /// Gives back what budgets hold if they would reserve more at a price than at the one before, and cut the answer; true if they are to
    /// reserve anew.
    fn outgrows(&mut self, price: &Price<'_>, before: &Price<'_>) -> bool {
        let Some(need) = &self.need else { return false };
        let most = |rule: &Rule, price: &Price<'_>| need.amount(rule, price).map(|amount| amount.most);
        let rules = self.snapshot.rules.of_request(&self.who);
        let mut budgets = rules.filter(|ruled| ruled.rule.dimension() == Dimension::Money);
        let outgrows = budgets.any(|ruled| {
            let both = most(&ruled.rule, price).zip(most(&ruled.rule, before));
            both.is_some_and(|(now, then)| now > then)
        });
        if outgrows && let Some(held) = &mut self.held {
            held.release_of(Dimension::Money);
        }
        outgrows
    }

    /// True if the limits have plenty of room.
    fn has_room(&self, charged: &[&Ruled], amounts: &[Amount], to: Destination<'a>) -> bool {
        let subjects = self.who.subjects(&to.channel.name);
        let (limiter, now) = (&self.metering.limiter, unix_ms());
        charged.iter().zip(amounts).all(|(ruled, amount)| {
            let rule = &ruled.rule;
            let counted = matches!(rule.dimension(), Dimension::Tokens | Dimension::Money);
            let used = || limiter.used(rule, &subjects, now);
            !counted || used().saturating_add(amount.most) <= rule.limit() / ROOM
        })
    }

    /// How much the rules are to reserve.
    fn amounts(
        &self,
        charged: &[&Ruled],
        (to, price): (Destination<'a>, Price<'a>),
    ) -> Result<PerRule<Amount>, Denied> {
        let mut amounts = PerRule::new();
        for ruled in charged {
            let rule = &ruled.rule;
            let amount = match &self.need {
                Some(need) => need.amount(rule, &price),
                None => Some(Amount { least: 1, most: 1 }),
            };
            amounts.push(match amount {
                Some(amount) => amount,
                // Another channel may have the model at a price that is known.
                None if rule.blocks() => return Err(Denied::channel(unpriced(rule.name(), to.model))),
                None => Amount { least: 0, most: 0 },
            });
        }
        Ok(amounts)
    }

    async fn ask(
        &self,
        charged: &[&Ruled],
        amounts: &[Amount],
        to: Destination<'a>,
    ) -> Result<Reservation, Refused> {
        let subjects = self.who.subjects(&to.channel.name);
        let both = charged.iter().zip(amounts);
        let charges: PerRule<_> = both
            .map(|(ruled, amount)| Charge::flexible(&ruled.rule, &subjects, amount.least, amount.most))
            .collect();
        self.metering.limiter.reserve(&charges, unix_ms()).await
    }

    /// Estimates what the request will need at a channel.
    pub(super) fn expect(&mut self, to: Destination<'_>) {
        let expected = self.input();
        let habit = self.metering.learned.of(to.model);
        let member = OutputMember::of(self.asked.format, to.format, to.channel.dialect);
        let given = member.given(self.asked.scan);
        let known = || profile(to.format, to.channel.dialect, to.model).max_output;
        // Asked for only where the request does not say.
        let cap = match given {
            Some(given) => given,
            None => to.channel.default_max_tokens.unwrap_or_else(known),
        };
        let bounds = (given, self.choices(), cap);
        let writes = self.asked.task == Task::Write;
        self.need = Some(Need::new(expected, habit, writes, bounds));
    }

    /// The prices at a destination, looked up once.
    fn price_at(&self, to: Destination<'a>) -> Price<'a> {
        let provider = to.channel.vendor.as_str();
        let tier = self.asked.scan.tier;
        Price {
            rule: self
                .snapshot
                .rules
                .prices
                .rule(provider, to.model, Day::of_ms(unix_ms())),
            millionths: to.channel.cost_millionths,
            tier: tier.map(|tier| Tier::from_service_tier(tier.as_str())),
        }
    }

    /// Finds out to how much output strict rules hold the request.
    fn bound(&mut self, to: Destination<'a>, price: &Price<'a>) -> Result<(), Denied> {
        self.output_most = None;
        let Some(need) = &self.need else {
            return Ok(());
        };
        if need.output == Output::None {
            return Ok(());
        }
        let mut most = u64::MAX;
        if let Some(tokens) = self.allowance(Dimension::Tokens) {
            most = need
                .output_within(tokens)
                .ok_or_else(|| self.too_small(to, Dimension::Tokens, need.input.likely))?;
        }
        if let Some(money) = self.allowance(Dimension::Money) {
            let within = need.output_for(money, price);
            let denied = || {
                if price.is_known() {
                    self.too_small(to, Dimension::Money, need.input.likely)
                } else {
                    self.unpriced(to)
                }
            };
            most = most.min(within.ok_or_else(denied)?);
        }
        if most < u64::MAX {
            let most = need.stated().map_or(most, |stated| stated.min(most));
            self.output_most = Some((most / self.choices()).max(1));
        }
        Ok(())
    }

    /// A model without a price cannot be held to what was reserved in money for another channel; the next one's may have a price.
    /// The caller is told why the channel before has failed, the operator why this one was not asked.
    fn unpriced(&self, to: Destination<'a>) -> Denied {
        let rule = self.strictest(to, Dimension::Money);
        let name = rule.map_or_else(|| "budget".into(), |rule| Arc::clone(rule.name()));
        let (channel, model) = (to.channel.name.as_str(), to.model);
        tracing::warn!(
            channel,
            model,
            limit = &*name,
            "the channel is passed over: its model has no known price"
        );
        Denied::channel(unpriced(&name, to.model))
    }

    /// Names the tightest rule of a dimension: it is the one that can never admit the prompt.
    fn too_small(&self, to: Destination<'a>, dimension: Dimension, input: u64) -> Denied {
        too_small(input, self.strictest(to, dimension))
    }

    /// The tightest of the strict rules of a dimension.
    fn strictest(&self, to: Destination<'a>, dimension: Dimension) -> Option<&Rule> {
        let rules = &self.snapshot.rules;
        let all = rules.of_request(&self.who);
        let all = all.chain(rules.of_channel(&self.who, (to.number, &to.channel.name)));
        let strict = all
            .map(|ruled| &*ruled.rule)
            .filter(|rule| rule.dimension() == dimension && rule.reserves() == Mode::Strict);
        strict.min_by_key(|rule| rule.limit())
    }
}
