use super::*;
use crate::assimilate::{Assimilate, RootInfo};
use crate::extent::ReplicaState;
use crate::objective::{Standing, Used, Wanted as Wished};
use crate::table::roots::RootRow;
use holdall_silos::BlobName;
use proptest::prelude::*;

const DAY: UnixMs = 24 * 60 * 60 * 1000;
const GIB: u64 = 1 << 30;

/// Silos by preset (none is without prices), numbered from 1; a day after everything was written.
fn prices(silos: &[(Option<&str>, Access, bool)]) -> Prices {
    let silo = |(at, (preset, access, enforces)): (usize, &(Option<&str>, Access, bool))| {
        let card = preset.map(|preset| Price::of(preset).card().unwrap());
        let facts = Facts { enforces_upload_checksum: *enforces, ..Facts::default() };
        (
            at as SiloId + 1,
            Priced { name: format!("s{}", at + 1), scrubbed: None, hashed: false, card, access: *access, facts },
        )
    };
    let silos = silos.iter().enumerate().map(silo).collect();
    Prices { silos, currency: USD.to_owned(), pack_up_to: 64 << 10, now: DAY, scrub_budget: None, passes: Vec::new() }
}

fn blob(number: u64) -> Location {
    Location::Blob(BlobName { session: 1, number, extent: (1, number) })
}

fn extent(number: u64, size: u64, at: &[(SiloId, Location)], to: Option<SiloId>) -> JudgedExtent {
    let replica = |(silo, location): &(SiloId, Location)| {
        let (state, location) = (ReplicaState::Verified, location.clone());
        Replica { silo: *silo, location, state, since: 0, job: None }
    };
    let id = Number { session: 1, number };
    let replicas = at.iter().map(replica).collect();
    let row = ExtentRow { size, digest: [1; 32], blocks: None, first: Some(id), replicas };
    let moves = |to| Standing::Moves { from: at[0].0, to, by: 0 };
    JudgedExtent {
        id,
        row,
        own: true,
        damaged: Vec::new(),
        standing: to.map_or(Standing::Aligned, moves),
        then: Vec::new(),
    }
}

fn sum(prices: &Prices, extents: &[JudgedExtent]) -> Costs {
    let mut ledger = Ledger::new(prices);
    for extent in extents {
        ledger.add_extent(extent, Reads::default());
    }
    let (ways, costs) = ledger.finish();
    let once = ways.values().fold(Once::default(), |sum, cost| sum.and(cost.once));
    assert_eq!(once, costs.cost.once, "all ways make all of it");
    costs
}

fn shown(costs: &Costs) -> [String; 7] {
    let Cost { once, month_before, month_after } = costs.cost;
    let Once { requests, retrieval, egress, early_deletion, verification } = once;
    [requests, retrieval, egress, early_deletion, verification, month_before, month_after].map(|part| part.to_string())
}

/// From S3 Standard to Glacier Instant Retrieval, and back a day after.
#[test]
fn a_gib_is_asked_for_read_written_and_read_back_where_it_must_be() {
    let both = |enforces| {
        prices(&[(Some("aws-s3-standard"), Access::Own, enforces), (Some("aws-s3-glacier-ir"), Access::Own, enforces)])
    };
    let (there, back) = (extent(1, GIB, &[(1, blob(1))], Some(2)), extent(1, GIB, &[(2, blob(1))], Some(1)));
    // 2 reads at 0.0004 a thousand and a write at 0.02; 0.09 a GiB. Read back: a read at 0.01, and 0.03 and 0.09 a GiB.
    let costs = sum(&both(false), std::slice::from_ref(&there));
    assert_eq!(shown(&costs), ["0.0000208", "0", "0.09", "0", "0.12001", "0.023", "0.004"]);
    assert_eq!((costs.priced, costs.unpriced), (vec!["s1".to_owned(), "s2".to_owned()], Vec::new()));
    let costs = sum(&both(true), &[there]);
    assert_eq!(shown(&costs), ["0.0000208", "0", "0.09", "0", "0", "0.023", "0.004"]);
    // 89 of 90 days are left: 0.004 * 89 / 30.
    let costs = sum(&both(true), &[back]);
    assert_eq!(shown(&costs), ["0.000025", "0.03", "0.09", "0.011866666666666666", "0", "0.004", "0.023"]);
}

/// 1,000 records side by side: as many requests as there are packs of 512 to be written, and reads of those.
#[test]
fn small_ones_share_requests_and_know_no_least_size() {
    let prices =
        prices(&[(Some("aws-s3-standard"), Access::Own, true), (Some("aws-s3-glacier-ir"), Access::Own, true)]);
    let record = |number: u64| {
        let pack = Location::Pack { pack: BlobName::pack(1, 7), offset: number * 1200, length: 1200 };
        extent(number, 1000, &[(1, pack)], Some(2))
    };
    let all: Vec<JudgedExtent> = (0..1000).map(record).collect();
    let costs = sum(&prices, &all);
    // 2 reads at 0.0004 and 2 writes at 0.02 a thousand; 1,200,000 bytes at 0.09, 0.023 and 0.004 a GiB.
    assert_eq!(costs.cost.once.requests.to_string(), "0.0000408");
    let gib = |rate: f64| (rate * 1_200_000.0 / GIB as f64 * 1e12).round() / 1e12;
    let close = |money: Money, rate: f64| {
        let off = money.to_string().parse::<f64>().unwrap() - gib(rate);
        assert!(off.abs() < 1e-11, "{money} {rate}");
    };
    close(costs.cost.once.egress, 0.09);
    close(costs.cost.month_before, 0.023);
    close(costs.cost.month_after, 0.004);
    // What lies in blobs of its own is read one by one, each asked for twice; what is written is the same.
    let alone: Vec<JudgedExtent> =
        (0..1000).map(|number| extent(number, 1000, &[(1, blob(number))], Some(2))).collect();
    assert_eq!(sum(&prices, &alone).cost.once.requests.to_string(), "0.00084");
    // Where it is the source that asks for a least size, each was paid for as 128 KiB.
    let back: Vec<JudgedExtent> = (0..1000).map(|number| extent(number, 1000, &[(2, blob(number))], Some(1))).collect();
    let costs = sum(&prices, &back);
    assert_eq!(costs.cost.month_before.to_string(), "0.00048828125");
    let fee = "0.00000048828125".parse::<Money>().unwrap().part(89, 30);
    assert_eq!(costs.cost.once.early_deletion, (0..1000).map(|_| fee).sum());
}

/// Objects that came one by one lie in a pack each, which a bucket with a least size charges as if it were as long: a plan
/// counted the records alone, and was short by a percent of what was asked when they left.
#[test]
fn packs_that_leave_early_pay_for_the_least_size() {
    let prices =
        prices(&[(Some("aws-s3-standard"), Access::Own, true), (Some("aws-s3-glacier-ir"), Access::Own, true)]);
    let fee = |records: u64, length: u64| {
        let record = |number: u64| {
            let (pack, offset) = (BlobName::pack(1, number / records), number % records * length);
            extent(number, length - 200, &[(2, Location::Pack { pack, offset, length })], Some(1))
        };
        let all: Vec<JudgedExtent> = (0..4 * records).map(record).collect();
        sum(&prices, &all).cost.once.early_deletion
    };
    // Four times 128 KiB for 89 of 90 days.
    let least = "0.00000048828125".parse::<Money>().unwrap().part(89, 30);
    let close = |fee: Money, packs: f64| {
        let off = fee.to_string().parse::<f64>().unwrap() / least.to_string().parse::<f64>().unwrap() - packs;
        assert!(off.abs() < 1e-9, "{fee} {packs}");
    };
    close(fee(1, 1200), 4.0);
    close(fee(4, 1 << 10), 4.0);
    close(fee(4, 64 << 10), 8.0);
}

#[test]
fn what_is_shared_counts_once_and_what_has_no_price_is_named() {
    let prices = prices(&[(Some("cloudflare-r2"), Access::Own, true), (None, Access::Own, false)]);
    let gb = 1_000_000_000;
    let mut others = extent(1, gb, &[(1, blob(1))], None);
    others.own = false;
    let held = extent(2, gb, &[(1, blob(2)), (2, blob(3))], None);
    let costs = sum(&prices, &[others, held]);
    assert_eq!((costs.cost.month_before.to_string(), costs.cost.once), ("0.015".to_owned(), Once::default()));
    assert_eq!((costs.priced, costs.unpriced), (vec!["s1".to_owned()], vec!["s2".to_owned()]));
    let moved = sum(&prices, &[extent(1, gb, &[(2, blob(1))], Some(1))]);
    assert_eq!(shown(&moved), ["0.0000045", "0", "0", "0", "0", "0", "0.015"]);
    let nothing = sum(&prices, &[]);
    assert!(nothing.priced.is_empty() && nothing.unpriced.is_empty());
}

/// Of others', nothing goes that may only be read: it is paid for twice, and nothing is deleted early.
#[test]
fn what_may_only_be_read_stays_and_is_paid_for() {
    let of = |access| prices(&[(Some("gcs-nearline"), access, true), (Some("gcs-standard"), Access::Own, true)]);
    let there = |whole| {
        let (name, validator) = (b"theirs".to_vec(), "1".to_owned());
        extent(1, GIB, &[(1, Location::InPlace { name, validator, whole, offset: 0 })], Some(2))
    };
    let costs = sum(&of(Access::ReadOnly), &[there(GIB)]);
    // One read at 0.001 a thousand and one write at 0.005; 0.01 and 0.12 a GiB.
    assert_eq!(shown(&costs), ["0.000006", "0.01", "0.12", "0", "0", "0.01", "0.03"]);
    let costs = sum(&of(Access::ReadWrite), &[there(GIB)]);
    assert_eq!(costs.cost.once.early_deletion, "0.01".parse::<Money>().unwrap().part(29, 30));
    assert_eq!(costs.cost.month_after.to_string(), "0.02");
}

#[test]
fn alternatives_are_priced_where_a_price_is_known() {
    let prices = prices(&[
        (Some("aws-s3-standard"), Access::Own, true),
        (Some("aws-s3-glacier-ir"), Access::Own, true),
        (None, Access::Own, false),
        (Some("free"), Access::ReadOnly, false),
    ]);
    let extents = [extent(1, GIB, &[(1, blob(1))], None), extent(2, GIB, &[(1, blob(2))], None)];
    let object = judged(extents.into(), None);
    let Alternatives { silos, .. } = prices.alternatives(&object, 0);
    let told: Vec<_> = silos
        .iter()
        .map(|one| {
            (one.silo.as_str(), one.holds, one.month.map(|month| month.to_string()), one.once.total().to_string())
        })
        .collect();
    let month = |text: &str| Some(text.to_owned());
    let expected = [
        ("s1", true, month("0.046"), "0".to_owned()),
        ("s2", false, month("0.008"), "0.1800416".to_owned()),
        ("s3", false, None, "0.1800016".to_owned()),
    ];
    assert_eq!(told, expected, "nothing is moved onto what is others'");
}

fn judged(extents: Vec<JudgedExtent>, heat: Option<crate::heat::Heat>) -> JudgedObject {
    let used = Used { last: 0, read: None, lot: 0, size: 0 };
    JudgedObject {
        wanted: Wished::default(),
        conditions: Vec::new(),
        extents,
        heat,
        used,
        bucket: 1,
        id: None,
        choice: None,
        aside: Money::ZERO,
    }
}

/// A second copy is paid for beside the first; what leaves early pays the rest of its days, and nothing else.
#[test]
fn copies_are_paid_for_beside_and_what_leaves_early_pays() {
    let prices =
        prices(&[(Some("aws-s3-standard"), Access::Own, true), (Some("aws-s3-glacier-ir"), Access::Own, true)]);
    let steps =
        |at: &[(SiloId, Location)], standing| sum(&prices, &[JudgedExtent { standing, ..extent(1, GIB, at, None) }]);
    let copied = steps(&[(1, blob(1))], Standing::Copies { from: 1, to: 2, by: 0 });
    assert_eq!(shown(&copied), ["0.0000208", "0", "0.09", "0", "0", "0.023", "0.027"]);
    let left = steps(&[(1, blob(1)), (2, blob(2))], Standing::Drops { from: 2, least: 1, by: 0 });
    assert_eq!(shown(&left), ["0", "0", "0", "0.011866666666666666", "0", "0.027", "0.023"]);
    let small = extent(1, 1000, &[(1, Location::Pack { pack: BlobName::pack(1, 7), offset: 0, length: 1200 })], None);
    let standing = Standing::Copies { from: 1, to: 2, by: 0 };
    let small = sum(&prices, &[JudgedExtent { standing, ..small }]);
    assert_eq!(small.cost.once.early_deletion, Money::ZERO);
    assert!(small.cost.month_after > small.cost.month_before);
}

/// A plan of three copies showed one step of the two, and its money was half of what was asked.
#[test]
fn all_steps_are_counted_and_a_month_is_that_before_the_first_and_after_the_last() {
    let own = |preset| (Some(preset), Access::Own, true);
    let prices = prices(&[own("aws-s3-standard"), own("aws-s3-glacier-ir"), own("cloudflare-r2")]);
    let first = Standing::Copies { from: 1, to: 2, by: 0 };
    let then = vec![Standing::Copies { from: 1, to: 3, by: 0 }, Standing::Aligned];
    let steps = |extent| JudgedExtent { standing: first.clone(), then: then.clone(), ..extent };
    let mut ledger = Ledger::new(&prices);
    ledger.add_extent(&steps(extent(1, GIB, &[(1, blob(1))], None)), Reads::default());
    let (ways, costs) = ledger.finish();
    // Twice 2 reads at 0.0004 and 0.09 a GiB; a write at 0.02 and one at 0.0045 a thousand. R2 asks 0.015 a GB.
    let r2 = "0.015".parse::<Money>().unwrap().part(GIB, 1_000_000_000);
    let after = "0.027".parse::<Money>().unwrap() + r2;
    let expected = ["0.0000261", "0", "0.18", "0", "0", "0.023", &after.to_string()];
    assert_eq!(shown(&costs), expected);
    let months: Vec<_> = ways.values().map(|cost| (cost.month_before, cost.month_after)).collect();
    assert_eq!(months, [("0.023".parse().unwrap(), "0.027".parse().unwrap()), ("0.027".parse().unwrap(), after)]);
    // A move and then a copy of what was moved, which is read where it is then: 512 records in the pack that was written.
    let record = |number: u64| {
        let alone = extent(number, 1000, &[(1, blob(number))], Some(2));
        JudgedExtent { then: vec![Standing::Copies { from: 2, to: 3, by: 0 }], ..alone }
    };
    let all: Vec<_> = (0..1000).map(record).collect();
    // 2,000 reads at 0.0004 and 2 writes at 0.02 a thousand; 2 reads at 0.01 and 2 writes at 0.0045.
    assert_eq!(sum(&prices, &all).cost.once.requests.to_string(), "0.000869");
}

/// Records that leave for nowhere take their packs with them as those do that move: four packs of one, at the least size.
#[test]
fn packs_that_are_given_up_early_pay_for_the_least_size() {
    let own = |preset| (Some(preset), Access::Own, true);
    let prices = prices(&[own("aws-s3-standard"), own("aws-s3-glacier-ir")]);
    let record = |number: u64| {
        let pack = |silo, session| {
            (silo, Location::Pack { pack: BlobName::pack(session, number), offset: 0, length: 1 << 10 })
        };
        let both = extent(number, 1000, &[pack(1, 1), pack(2, 2)], None);
        JudgedExtent { standing: Standing::Drops { from: 2, least: 1, by: 0 }, ..both }
    };
    let fee = sum(&prices, &(0..4).map(record).collect::<Vec<_>>()).cost.once.early_deletion;
    let least = "0.00000048828125".parse::<Money>().unwrap().part(89, 30);
    let off = fee.to_string().parse::<f64>().unwrap() / least.to_string().parse::<f64>().unwrap() - 4.0;
    assert!(off.abs() < 1e-9, "{fee}");
}

/// Silos 1 and 2 are scrubbed every 15 days.
fn scrubbed(budget: Option<&str>) -> Prices {
    let own = |preset| (Some(preset), Access::Own, true);
    let mut prices = prices(&[own("aws-s3-standard"), own("aws-s3-glacier-ir"), own("cloudflare-r2")]);
    for silo in [1, 2] {
        prices.silos.get_mut(&silo).unwrap().scrubbed = Some(Duration::from_hours(15 * 24));
    }
    prices.scrub_budget = budget.map(|budget| budget.parse().unwrap());
    prices
}

fn told(upkeep: &[Upkeep]) -> Vec<(&str, Chore, String, String)> {
    let told = |one: &Upkeep| (one.month_before.to_string(), one.month_after.to_string());
    upkeep.iter().map(|one| (one.silo.as_str(), one.what, told(one).0, told(one).1)).collect()
}

#[test]
fn a_month_has_what_scrubs_read_before_and_after() {
    let line = |silo, before: &str, after: &str| (silo, Chore::Scrub, before.to_owned(), after.to_owned());
    let moved = [extent(1, GIB, &[(1, blob(1))], Some(2)), extent(2, GIB, &[(3, blob(2))], None)];
    // Twice a month a read at 0.0004 a thousand and 0.09 a GiB, then one at 0.01, and 0.12; nobody scrubs the third.
    let costs = sum(&scrubbed(None), &moved);
    assert_eq!(told(&costs.upkeep), [line("s1", "0.1800008", "0"), line("s2", "0", "0.24002")]);
    let plain = sum(
        &prices(&[
            (Some("aws-s3-standard"), Access::Own, true),
            (Some("aws-s3-glacier-ir"), Access::Own, true),
            (Some("cloudflare-r2"), Access::Own, true),
        ]),
        &moved,
    );
    assert!(plain.upkeep.is_empty());
    let more = |cost: &Cost, more: [&str; 2]| {
        let [before, after] = more.map(|money| money.parse::<Money>().unwrap());
        (cost.month_before + before, cost.month_after + after)
    };
    let all = (costs.cost.month_before, costs.cost.month_after);
    assert_eq!(all, more(&plain.cost, ["0.1800008", "0.24002"]), "it is part of the month");
    // No more than may be spent on it, all silos together.
    let both = [extent(1, GIB, &[(1, blob(1))], None), extent(2, GIB, &[(2, blob(2))], None)];
    let costs = sum(&scrubbed(Some("0.2")), &both);
    assert_eq!(told(&costs.upkeep), [line("s1", "0.1800008", "0.1800008"), line("s2", "0.0199992", "0.0199992")]);
}

/// What lies in a root is read once to have its checksums, unless it has them or moves away, for what scrubs leave of the budget.
#[test]
fn a_month_has_what_is_read_for_checksums() {
    let of = |budget: &str| {
        let mut prices = scrubbed(Some(budget));
        prices.silos.get_mut(&3).unwrap().hashed = true;
        prices.silos.get_mut(&3).unwrap().card = prices.silos[&1].card;
        prices
    };
    let there = |number: u64, hashed: bool, to: Option<SiloId>| {
        let (name, validator) = (vec![b'a', number as u8], "1".to_owned());
        let place = Location::InPlace { name, validator, whole: GIB, offset: 0 };
        let found = extent(number, GIB, &[(3, place)], to);
        let blocks = if hashed { None } else { Some(Vec::new()) };
        JudgedExtent { row: ExtentRow { blocks, ..found.row }, ..found }
    };
    let all =
        [there(1, false, None), there(2, false, Some(1)), there(3, true, None), extent(4, GIB, &[(1, blob(4))], None)];
    let line = |silo, what, before: &str, after: &str| (silo, what, before.to_owned(), after.to_owned());
    let (scrub, hash) = (Chore::Scrub, Chore::Hash);
    // Three requests at 0.0004 a thousand and 0.09 a GiB, each.
    let costs = sum(&of("10"), &all);
    assert_eq!(
        told(&costs.upkeep),
        [line("s1", scrub, "0.1800008", "0.3600016"), line("s3", hash, "0.1800024", "0.0900012")]
    );
    let costs = sum(&of("0.2"), &all);
    assert_eq!(told(&costs.upkeep), [line("s1", scrub, "0.1800008", "0.2"), line("s3", hash, "0.0199992", "0")]);
}

/// 1,000 records of 1,000 bytes lie side by side in a pack: it is read in 2 runs of 512. Copied, they are read so there, too.
#[test]
fn scrubs_read_small_ones_together() {
    let record = |number: u64| {
        let pack = Location::Pack { pack: BlobName::pack(1, 7), offset: number * 1000, length: 1000 };
        let standing = Standing::Copies { from: 1, to: 2, by: 0 };
        JudgedExtent { standing, ..extent(number, 900, &[(1, pack)], None) }
    };
    let costs = sum(&scrubbed(None), &(0..1000).map(record).collect::<Vec<_>>());
    let month = |rate: &str, request: &str| {
        let bytes = rate.parse::<Money>().unwrap().part(1_000_000, GIB);
        ((bytes + request.parse().unwrap()).part(2, 1)).rounded(15)
    };
    let rounded: Vec<_> =
        costs.upkeep.iter().map(|one| (one.month_before.rounded(15), one.month_after.rounded(15))).collect();
    let (there, here) = (month("0.09", "0.0000008"), month("0.12", "0.00002"));
    assert_eq!(rounded, [(there.clone(), there), ("0.000000000000000".to_owned(), here)]);
}

/// 2,500 names are listed by 3 requests, every ten minutes: 4,320 times a month, at what writes cost.
#[test]
fn a_month_has_what_passes_list() {
    let order = |into: &str| {
        let order = serde_json::json!({ "silo": "s1", "bucket": "photos", "into": into, "every_seconds": 600 });
        serde_json::from_value::<Assimilate>(order).unwrap()
    };
    let root = |into: &str, names| {
        let mut info = RootInfo::new(1, order(into), 0);
        (info.counts.names, info.counts.refused) = (names, 100);
        RootRow { info, silo: 1, bucket: 1, owner: 0 }
    };
    let with = |roots: &[RootRow], family: &str, on: &str| {
        let mut prices = prices(&[(Some("aws-s3-standard"), Access::ReadOnly, true)]);
        let on = on.parse().unwrap();
        prices.passes.extend(roots.iter().filter_map(|root| Passes::of(root, family, &on)));
        let costs = sum(&prices, &[]);
        let months = (costs.cost.month_before.to_string(), costs.cost.month_after.to_string());
        let told = told(&costs.upkeep).into_iter().map(|(silo, what, before, after)| {
            assert_eq!((&before, &after), (&months.0, &months.1));
            format!("{silo} {what:?} {before}")
        });
        told.collect::<Vec<_>>()
    };
    let roots = [root("in/", 2400), root("out/", 0)];
    // 3 and 1 requests at 0.005 a thousand.
    assert_eq!(with(&roots, "s3", "s3://photos/in/2024/"), ["s1 Rescan 0.0648"]);
    assert_eq!(with(&roots, "s3", "s3://"), ["s1 Rescan 0.0864"]);
    assert_eq!(with(&roots, "s3", "s3://logs/"), [""; 0]);
    assert_eq!(with(&roots, "posix", "s3://"), [""; 0], "a folder is read");
}

/// What was read in the last 30 days is what a month to come costs: 3 whole reads of a GiB at Glacier's 0.03 and 0.09.
#[test]
fn reads_of_the_last_month_are_those_to_come() {
    let prices =
        prices(&[(Some("aws-s3-standard"), Access::Own, true), (Some("aws-s3-glacier-ir"), Access::Own, true)]);
    let now = 40 * DAY;
    let read = |at: UnixMs| crate::heat::Reads::one(GIB, GIB, at);
    let heat = crate::heat::Heat::of(read(now - 3 * DAY)).after(read(now - 2 * DAY)).after(read(now));
    let cold = || extent(1, GIB, &[(2, blob(1))], None);
    let mut ledger = Ledger::new(&prices);
    ledger.add(&judged(vec![cold()], Some(heat)), now);
    let (_, costs) = ledger.finish();
    assert_eq!(costs.cost.month_before.to_string(), "0.36403");
    let told = prices.alternatives(&judged(vec![cold()], Some(heat)), now);
    let months: Vec<_> = told.silos.iter().map(|silo| silo.month.unwrap().to_string()).collect();
    assert_eq!(months, ["0.2930012", "0.36403"]);
}

fn any_extents() -> impl Strategy<Value = Vec<JudgedExtent>> {
    let one = (1_u64..200_000, any::<bool>(), 1_u32..4, prop::option::of(1_u32..4), any::<bool>());
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let made = all.into_iter().enumerate().map(|(at, (size, packed, silo, to, own))| {
            let (number, length) = (at as u64, size + 300);
            let pack = Location::Pack { pack: BlobName::pack(1, number % 3), offset: number << 18, length };
            let location = if packed { pack } else { blob(number) };
            JudgedExtent { own, ..extent(number, size, &[(silo, location)], to.filter(|to| *to != silo)) }
        });
        made.collect()
    })
}

proptest! {
    /// Pages come in the order of keys, which says nothing of what they cost.
    #[test]
    fn costs_know_no_order(extents in any_extents()) {
        let prices = prices(&[
            (Some("aws-s3-standard-ia"), Access::Own, false),
            (Some("cloudflare-r2"), Access::Own, true),
            (None, Access::Own, false),
        ]);
        let forth = sum(&prices, &extents);
        let mut back = extents;
        back.reverse();
        prop_assert_eq!(forth, sum(&prices, &back));
    }
}
