//! Published list prices by name: the first tier, without free allowances, discounts and taxes. They change, and differ from
//! region to region: whoever has a contract knows better, and says so (see [`super::Price`]).

use serde::Serialize;

use super::{PriceCard, Rate, Unit};

/// Prices by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Preset {
    /// `aws-s3-standard`
    pub name: &'static str,
    /// The service and its class, and where.
    pub about: &'static str,
    /// When they were published so, year and month.
    pub as_of: &'static str,
    /// The page that has them.
    pub source: &'static str,
    /// What the figures leave out.
    pub note: &'static str,
    /// The prices, in US dollars.
    #[serde(flatten)]
    pub card: PriceCard,
}

const AWS: &str = "https://aws.amazon.com/s3/pricing/";
const GOOGLE: &str = "https://cloud.google.com/storage/pricing";
const AZURE: &str = "https://azure.microsoft.com/pricing/details/storage/blobs/";
const CLOUDFLARE: &str = "https://developers.cloudflare.com/r2/pricing/";

const OUT: &str = "egress is to the internet; within the region it is 0";

/// Storage, retrieval and egress by the unit, reads and writes by the thousand, in 10^-9 of a dollar.
const fn card(unit: Unit, [storage, retrieval, egress, reads, writes]: [u64; 5], days: u16, size: u64) -> PriceCard {
    PriceCard {
        unit,
        storage: Rate::nano(storage),
        retrieval: Rate::nano(retrieval),
        egress: Rate::nano(egress),
        reads: Rate::nano(reads),
        writes: Rate::nano(writes),
        minimum_days: days,
        minimum_size: size,
    }
}

const fn aws(name: &'static str, about: &'static str, card: PriceCard) -> Preset {
    Preset { name, about, as_of: "2026-08", source: AWS, note: OUT, card }
}

const fn google(name: &'static str, about: &'static str, card: PriceCard) -> Preset {
    Preset { name, about, as_of: "2026-09", source: GOOGLE, note: OUT, card }
}

const fn azure(name: &'static str, about: &'static str, card: PriceCard) -> Preset {
    Preset { name, about, as_of: "2024-08", source: AZURE, note: OUT, card }
}

/// All of them, in the order they are shown.
///
/// AWS and Google bill by 2^30 bytes, and Azure's pages reckon so; Backblaze and Cloudflare by 10^9.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "free",
        about: "a disk or NAS of one's own that is paid for anyway",
        as_of: "",
        source: "",
        note: "what disks and power cost is left out",
        card: card(Unit::GB, [0; 5], 0, 0),
    },
    aws(
        "aws-s3-standard",
        "Amazon S3 Standard, us-east-1",
        card(Unit::GiB, [23_000_000, 0, 90_000_000, 400_000, 5_000_000], 0, 0),
    ),
    aws(
        "aws-s3-standard-ia",
        "Amazon S3 Standard-IA, us-east-1",
        card(Unit::GiB, [12_500_000, 10_000_000, 90_000_000, 1_000_000, 10_000_000], 30, 128 << 10),
    ),
    aws(
        "aws-s3-glacier-ir",
        "Amazon S3 Glacier Instant Retrieval, us-east-1",
        card(Unit::GiB, [4_000_000, 30_000_000, 90_000_000, 10_000_000, 20_000_000], 90, 128 << 10),
    ),
    google(
        "gcs-standard",
        "Google Cloud Storage Standard, us-central1",
        card(Unit::GiB, [20_000_000, 0, 120_000_000, 400_000, 5_000_000], 0, 0),
    ),
    google(
        "gcs-nearline",
        "Google Cloud Storage Nearline, us-central1",
        card(Unit::GiB, [10_000_000, 10_000_000, 120_000_000, 1_000_000, 10_000_000], 30, 0),
    ),
    google(
        "gcs-coldline",
        "Google Cloud Storage Coldline, us-central1",
        card(Unit::GiB, [4_000_000, 20_000_000, 120_000_000, 10_000_000, 20_000_000], 90, 0),
    ),
    google(
        "gcs-archive",
        "Google Cloud Storage Archive, us-central1",
        card(Unit::GiB, [1_200_000, 50_000_000, 120_000_000, 50_000_000, 50_000_000], 365, 0),
    ),
    azure(
        "azure-hot",
        "Azure Blob Storage Hot, LRS, East US",
        card(Unit::GiB, [20_800_000, 0, 87_000_000, 440_000, 5_500_000], 0, 0),
    ),
    azure(
        "azure-cool",
        "Azure Blob Storage Cool, LRS, East US",
        card(Unit::GiB, [15_200_000, 10_000_000, 87_000_000, 1_000_000, 10_000_000], 30, 0),
    ),
    azure(
        "azure-cold",
        "Azure Blob Storage Cold, LRS, East US",
        card(Unit::GiB, [4_500_000, 30_000_000, 87_000_000, 10_000_000, 18_000_000], 90, 0),
    ),
    Preset {
        name: "cloudflare-r2",
        about: "Cloudflare R2, standard storage",
        as_of: "2026-08",
        source: CLOUDFLARE,
        note: "usage is billed in whole GB and whole millions of requests",
        card: card(Unit::GB, [15_000_000, 0, 0, 360_000, 4_500_000], 0, 0),
    },
    Preset {
        name: "cloudflare-r2-ia",
        about: "Cloudflare R2, infrequent access",
        as_of: "2026-08",
        source: CLOUDFLARE,
        note: "usage is billed in whole GB and whole millions of requests",
        card: card(Unit::GB, [10_000_000, 10_000_000, 0, 900_000, 9_000_000], 30, 0),
    },
    Preset {
        name: "backblaze-b2",
        about: "Backblaze B2",
        as_of: "2026-09",
        source: "https://www.backblaze.com/cloud-storage/pricing",
        note: "egress up to three times of what is stored is 0",
        card: card(Unit::GB, [6_950_000, 0, 10_000_000, 0, 0], 0, 0),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Price;

    #[test]
    fn presets_are_called_by_name_and_say_where_they_are_from() {
        let names: std::collections::BTreeSet<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        assert_eq!(names.len(), PRESETS.len());
        for preset in PRESETS {
            assert_eq!(Price::of(preset.name).card(), Ok(preset.card), "{}", preset.name);
            assert_eq!(preset.card.is_free(), preset.source.is_empty(), "{}", preset.name);
            assert!(preset.as_of.is_empty() || preset.as_of.len() == 7, "{}", preset.name);
        }
    }

    /// A class that is cheaper to hold asks more for something else; a figure that was mistyped stands out.
    #[test]
    fn of_one_service_what_is_cheaper_to_hold_is_dearer_to_read() {
        for service in ["aws-", "gcs-", "azure-", "cloudflare-"] {
            let of = PRESETS.iter().filter(|preset| preset.name.starts_with(service)).map(|preset| preset.card);
            let cards: Vec<PriceCard> = of.collect();
            for two in cards.windows(2) {
                let (dear, cheap) = (two[0], two[1]);
                assert!(cheap.storage < dear.storage, "{service}");
                assert!(cheap.retrieval > dear.retrieval && cheap.reads > dear.reads, "{service}");
                assert!(cheap.writes >= dear.writes && cheap.minimum_days > dear.minimum_days, "{service}");
                assert_eq!((cheap.egress, cheap.unit), (dear.egress, dear.unit), "{service}");
            }
        }
    }
}
