use super::*;

#[test]
fn bits_lie_least_significant_first() {
    let mut map = Bitmap::new(20);
    for extent in [0, 9, 19] {
        assert!(map.set(extent) && !map.set(extent));
    }
    assert_eq!(map.to_bytes(4), [0b0000_0001, 0b0000_0010, 0b0000_1000, 0]);
    assert_eq!(Bitmap::from_bytes(20, &map.to_bytes(3)), map);
    assert_eq!(map.iter().collect::<Vec<_>>(), [0, 9, 19]);
    assert!(map.clear(9) && !map.clear(9));
    assert_eq!(
        (map.count(), map.test(9), map.test(19), map.test(1 << 40)),
        (2, false, true, false)
    );
    map.clear_all();
    assert!(map.is_empty());
}

#[test]
fn nothing_beyond_the_last_extent_is_ever_set() {
    for extents in [1, 7, 8, 63, 64, 65, 127, 128] {
        let mut map = Bitmap::from_bytes(extents, &[0xff; 512]);
        assert_eq!(map.count(), extents);
        assert_eq!(map.iter().last(), Some(extents - 1));
        let mut all = Bitmap::new(extents);
        all.set_all();
        assert_eq!(map, all);
        map.clear(extents - 1);
        assert_eq!(map.first_set_from(extents - 1), None);
        assert_eq!(map.first_set_from(u64::MAX), None);
    }
    assert_eq!(
        Bitmap::from_bytes(64, &[1]).count(),
        1,
        "missing bytes hold nothing"
    );
}

#[test]
#[should_panic(expected = "extent 8 of 8")]
fn an_extent_beyond_the_last_is_a_bug() {
    Bitmap::new(8).set(8);
}

/// Against the plainest thing that could be right.
#[test]
fn behaves_as_a_vector_of_bools() {
    let mut random = fastrand::Rng::with_seed(7);
    for extents in [1_u64, 63, 64, 65, 1000] {
        let mut map = Bitmap::new(extents);
        let mut other = Bitmap::new(extents);
        let mut model = vec![false; extents as usize];
        for _ in 0..2000 {
            let extent = random.u64(..extents);
            match random.u8(..8) {
                0..3 => assert_eq!(
                    map.set(extent),
                    !std::mem::replace(&mut model[extent as usize], true)
                ),
                3..7 => assert_eq!(
                    map.clear(extent),
                    std::mem::take(&mut model[extent as usize])
                ),
                _ => {
                    other.clear_all();
                    other.set(extent);
                    map.merge(&other);
                    model[extent as usize] = true;
                }
            }
            let set = |from: u64| (from..extents).find(|extent| model[*extent as usize]);
            assert_eq!(map.first_set_from(extent), set(extent));
            assert_eq!(map.first_set_from(0), set(0));
        }
        let expected = (0..extents)
            .filter(|extent| model[*extent as usize])
            .collect::<Vec<_>>();
        assert_eq!(map.iter().collect::<Vec<_>>(), expected);
        assert_eq!(map.count(), expected.len() as u64);
        let bytes = map.to_bytes(512);
        for (at, length) in [(0, 512), (3, 9), (8, 8), (7, 1), (500, 30)] {
            let mut part = vec![0xaa; length];
            map.copy_bytes(at, &mut part);
            let mut whole = bytes.clone();
            whole.resize(1024, 0);
            assert_eq!(part, whole[at..at + length], "{at}+{length}");
        }
    }
}
