//! Metadata and activemap of components that base nodes wrote.

use std::fmt::Write;

use hast::layout::{Bitmap, Geometry, METADATA_SIZE, Metadata};
use hast::nv::Nv;

use crate::vectors;

#[test]
fn disk_images_read_as_their_transcripts_say_and_come_out_the_same() {
    let folder = vectors::root().join("disk");
    let images = vectors::files(&folder, ".bin");
    assert_eq!(vectors::files(&folder, ".txt").len(), images.len());
    let mut dirty = 0;
    for path in images {
        let mut image = vectors::read(&path);
        vectors::clean(&mut image[..METADATA_SIZE]);
        let (block, map) = image.split_at(METADATA_SIZE);

        let metadata = Metadata::decode(block).expect("captured");
        assert_eq!(metadata.inconsistent, None);
        assert!(
            metadata.encode().expect("fits") == block,
            "{}",
            path.display()
        );

        let media_size = metadata.offset + metadata.datasize;
        let geometry = Geometry::new(media_size, 512, metadata.extentsize).expect("captured");
        assert_eq!(geometry.data_offset, metadata.offset);
        assert_eq!(geometry.data_size, metadata.datasize);
        assert_eq!(
            Geometry::of_component(&metadata, media_size, 512),
            Ok(geometry)
        );
        assert_eq!(image.len() as u64, geometry.data_offset);
        assert_eq!(map.len() as u64, geometry.map_size);

        let bitmap = Bitmap::from_bytes(geometry.extents, map);
        assert!(bitmap.to_bytes(map.len()) == map, "{}", path.display());
        dirty += bitmap.count();

        let nv = Nv::decode(block).expect("captured");
        let mut found = format!("{nv}\nmap ");
        let used = map
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        map[..used]
            .iter()
            .for_each(|byte| write!(found, "{byte:02x}").expect("to a string"));
        assert_eq!(
            found + "\n",
            vectors::read_text(&path.with_extension("txt"))
        );
    }
    assert!(dirty > 0, "no captured map has a bit set");
}
