use super::*;
use crate::terms::Role;

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

#[test]
fn a_component_is_divided_as_base_divides_it() {
    // The captured components: see tests/vectors/disk.
    let captured = Geometry::new(16_777_216, 512, 2 << 20).expect("fits");
    assert_eq!(
        (captured.data_offset, captured.data_size),
        (4608, 16_772_608)
    );
    assert_eq!((captured.map_size, captured.extents), (512, 8));
    let large = Geometry::new(TIB, 512, 2 << 20).expect("fits");
    assert_eq!((large.map_size, large.extents), (64 << 10, 1 << 19));
    let fine = Geometry::new(TIB, 4096, 4096).expect("fits");
    assert_eq!(fine.map_size, 32 << 20);
    assert!(
        fine.extents < fine.map_size * 8,
        "the map's own room has no extents"
    );
}

#[test]
fn ranges_touch_the_extents_they_lie_in() {
    let geometry = Geometry::new(16 * MIB, 512, 2 << 20).expect("fits");
    assert_eq!(geometry.extents_of(0, 1), 0..=0);
    assert_eq!(geometry.extents_of(2 * MIB - 512, 512), 0..=0);
    assert_eq!(geometry.extents_of(2 * MIB - 512, 1024), 0..=1);
    assert_eq!(geometry.extents_of(0, geometry.data_size), 0..=7);
    assert_eq!(geometry.range_of(1), (2 * MIB, 2 * MIB));
    assert_eq!(geometry.range_of(7), (14 * MIB, 2 * MIB - 4608));
}

#[test]
fn impossible_sizes_are_refused_with_the_reason() {
    let error = |media, sector, extent| {
        Geometry::new(media, sector, extent)
            .expect_err("impossible")
            .to_string()
    };
    assert!(error(4608, 512, 1 << 20).contains("too small"));
    assert!(error(0, 512, 1 << 20).contains("too small"));
    assert!(error(16 * MIB + 1, 512, 1 << 20).contains("multiple of the sector size"));
    assert!(error(16 * MIB, 0, 1 << 20).contains("sector size 0"));
    assert!(error(16 * MIB, 8192, 1 << 20).contains("sector size 8192"));
    assert!(error(16 * MIB, 512, 256).contains("extent size 256"));
    assert!(error(16 * MIB, 512, 3 << 20).contains("extent size"));
    assert!(error(u64::MAX - 511, 512, 1 << 30).contains("too large"));
    assert!(error(1 << 56, 512, 512).contains("too large"));
    assert_eq!(
        Geometry::new(5120, 512, 512).map(|geometry| geometry.extents),
        Ok(1)
    );
}

#[test]
fn a_component_is_used_as_its_metadata_say() {
    let made = Geometry::new(16 * MIB, 512, 2 << 20).expect("fits");
    let metadata = Metadata {
        resource: "disk1".to_owned(),
        datasize: made.data_size,
        extentsize: made.extent_size,
        keepdirty: 64,
        offset: made.data_offset,
        resuid: 0,
        localcnt: 0,
        remotecnt: 0,
        prevrole: Role::Init,
        record: crate::layout::Record::default(),
    };
    let of = |metadata: &Metadata, media, sector| Geometry::of_component(metadata, media, sector);
    assert_eq!(of(&metadata, 16 * MIB, 512), Ok(made));
    let grown = Geometry {
        media_size: TIB,
        ..made
    };
    assert_eq!(of(&metadata, TIB, 512), Ok(grown));
    let (media_size, needed) = (16 * MIB - 512, 16 * MIB);
    assert_eq!(
        of(&metadata, media_size, 512),
        Err(LayoutError::Shrunk { media_size, needed })
    );
    let contradicts = |change: fn(&mut Metadata), sector| {
        let mut changed = metadata.clone();
        change(&mut changed);
        let result = of(&changed, TIB, sector);
        assert!(
            matches!(result, Err(LayoutError::Contradiction { .. })),
            "{result:?}"
        );
    };
    contradicts(|_| (), 4096);
    contradicts(|metadata| metadata.extentsize = 0, 512);
    contradicts(|metadata| metadata.extentsize = 3 << 20, 512);
    contradicts(|metadata| metadata.datasize = 0, 512);
    contradicts(|metadata| metadata.offset = u64::MAX, 512);
    contradicts(|metadata| metadata.offset = 0, 512);
    contradicts(
        |metadata| (metadata.offset, metadata.datasize) = (4608, 16 << 30),
        512,
    );
    assert_eq!(of(&metadata, TIB, 0), Err(LayoutError::SectorSize(0)));
}
