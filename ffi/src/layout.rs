//! C structures as FreeBSD's kernel has them, on 64-bit and on 32-bit machines alike.
//!
//! A structure is described once, by [`structure!`]: that makes the Rust type, its [`Structure`],
//! and compile-time assertions that both agree here and that every offset is the one written down.
//! What is described can be held against FreeBSD's headers on any system: see
//! [`crate::headers`].

/// How a kind of machine lays C structures out. The sizes of numbers are the same on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// The size and the alignment of a pointer, in bytes.
    pub pointer: usize,
    /// The alignment of a 64-bit number in a structure, in bytes.
    pub wide: usize,
}

impl Model {
    /// amd64, arm64 and the other 64-bit machines.
    pub const LP64: Self = Self {
        pointer: 8,
        wide: 8,
    };
    /// 32-bit ARM and PowerPC.
    pub const ILP32: Self = Self {
        pointer: 4,
        wide: 8,
    };
    /// i386, where 64-bit numbers are aligned like 32-bit ones.
    pub const I386: Self = Self {
        pointer: 4,
        wide: 4,
    };
    /// The machine that this is compiled for.
    pub const HERE: Self = Self {
        pointer: size_of::<*const u8>(),
        wide: align_of::<u64>(),
    };
}

/// A type of C, as far as its size and alignment go.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// So many `char`.
    Chars(usize),
    /// `int`, `u_int`, `uint32_t`.
    Int,
    /// So many of `off_t`, `uint64_t`.
    Wide(usize),
    /// `void *`, `uintptr_t`.
    Pointer,
    /// A structure.
    Structure(&'static Structure),
}

impl Type {
    /// Its size, in bytes.
    pub const fn size(self, model: Model) -> usize {
        match self {
            Self::Chars(count) => count,
            Self::Int => 4,
            Self::Wide(count) => 8 * count,
            Self::Pointer => model.pointer,
            Self::Structure(structure) => structure.size(model),
        }
    }

    /// What its address in a structure is a multiple of.
    pub const fn alignment(self, model: Model) -> usize {
        match self {
            Self::Chars(_) => 1,
            Self::Int => 4,
            Self::Wide(_) => model.wide,
            Self::Pointer => model.pointer,
            Self::Structure(structure) => structure.alignment(model),
        }
    }
}

/// A structure of C: its name there, and its fields in their order.
#[derive(Debug)]
pub struct Structure {
    /// Its name in the header, without `struct`.
    pub name: &'static str,
    /// The names of its fields in the header, and their types.
    pub fields: &'static [(&'static str, Type)],
}

impl Structure {
    /// Where field `index` begins; the end of the last field for an index behind it.
    pub const fn offset(&self, index: usize, model: Model) -> usize {
        let mut end = 0_usize;
        let mut field = 0;
        while field < self.fields.len() {
            let kind = self.fields[field].1;
            let start = end.next_multiple_of(kind.alignment(model));
            if field == index {
                return start;
            }
            end = start + kind.size(model);
            field += 1;
        }
        end
    }

    /// Its size, padding at its end included.
    pub const fn size(&self, model: Model) -> usize {
        self.offset(self.fields.len(), model)
            .next_multiple_of(self.alignment(model))
    }

    /// What its address is a multiple of.
    pub const fn alignment(&self, model: Model) -> usize {
        let mut most = 1;
        let mut field = 0;
        while field < self.fields.len() {
            let alignment = self.fields[field].1.alignment(model);
            if alignment > most {
                most = alignment;
            }
            field += 1;
        }
        most
    }
}

/// A Rust type that is handed to the kernel, and what it is in C.
pub trait Native {
    /// The type in C.
    const TYPE: Type;
}

/// Says of Rust's types what they are in C.
macro_rules! native {
    ($($rust:ty => $type:expr,)*) => {$(
        impl Native for $rust {
            const TYPE: Type = $type;
        }
        const _: () = assert!(size_of::<$rust>() == <$rust as Native>::TYPE.size(Model::HERE));
    )*};
}

native! {
    u32 => Type::Int,
    i32 => Type::Int,
    u64 => Type::Wide(1),
    i64 => Type::Wide(1),
    [i64; 2] => Type::Wide(2),
    [u64; 2] => Type::Wide(2),
    usize => Type::Pointer,
    *mut u8 => Type::Pointer,
}

impl<const COUNT: usize> Native for [u8; COUNT] {
    const TYPE: Type = Type::Chars(COUNT);
}

/// Declares a structure of C: `struct Rust = "name in C", "prefix of its fields" [size on LP64,
/// size on ILP32]`, then each field with its offsets on the two. It does not compile where an
/// offset is not the one written down.
macro_rules! structure {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $rust:ident = $name:literal, $prefix:literal [$size64:literal, $size32:literal] {
            $($seen:vis $field:ident: $type:ty = [$at64:literal, $at32:literal],)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        $visibility struct $rust {
            $($seen $field: $type,)*
        }

        impl $rust {
            /// What it is in C.
            pub(crate) const STRUCTURE: $crate::layout::Structure = $crate::layout::Structure {
                name: $name,
                fields: &[$((
                    concat!($prefix, stringify!($field)),
                    <$type as $crate::layout::Native>::TYPE,
                ),)*],
            };
        }

        impl $crate::layout::Native for $rust {
            const TYPE: $crate::layout::Type = $crate::layout::Type::Structure(&Self::STRUCTURE);
        }

        const _: () = {
            use $crate::layout::Model;

            const IN_C: $crate::layout::Structure = $rust::STRUCTURE;
            const HERE: &[usize] = &[$(std::mem::offset_of!($rust, $field),)* size_of::<$rust>()];
            const WRITTEN: &[[usize; 2]] = &[$([$at64, $at32],)* [$size64, $size32]];

            assert!(IN_C.size(Model::LP64) == $size64);
            assert!(IN_C.size(Model::ILP32) == $size32);
            assert!(IN_C.size(Model::HERE) == size_of::<$rust>());
            let mut field = 0;
            while field < IN_C.fields.len() {
                assert!(IN_C.offset(field, Model::LP64) == WRITTEN[field][0]);
                assert!(IN_C.offset(field, Model::ILP32) == WRITTEN[field][1]);
                assert!(IN_C.offset(field, Model::HERE) == HERE[field]);
                field += 1;
            }
        };
    };
}
pub(crate) use structure;
