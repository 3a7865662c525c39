//! Reading GEOM's description of itself, `sysctl kern.geom.confxml`: which devices there are, of which
//! class, and who uses them. Takes what it needs and skips the rest.
//!
//! It is XML but for one thing: the gate class prints `info` as it was given, so that its content may be
//! anything (g_gate_dumpconf). Invariant: whatever the text is, reading it ends, and does not fail.

/// What there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mesh {
    /// In the kernel's order.
    pub geoms: Vec<Geom>,
}

/// One instance of a class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Geom {
    /// The kernel's name for it in this text.
    pub id: String,
    /// The name of its class.
    pub class: String,
    /// Its name.
    pub name: String,
    /// Whether it is going away.
    pub withers: bool,
    /// What its class says of it.
    pub config: Vec<(String, String)>,
    /// What it offers.
    pub providers: Vec<Provider>,
    /// What it uses.
    pub consumers: Vec<Consumer>,
}

/// A device that a geom offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// The kernel's name for it in this text.
    pub id: String,
    /// Below /dev.
    pub name: String,
    /// How it is open.
    pub mode: Mode,
    /// In bytes.
    pub media_size: u64,
    /// In bytes.
    pub sector_size: u32,
    /// Whether it is going away.
    pub withers: bool,
}

/// A use of a device by a geom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumer {
    /// The [`Provider::id`] used.
    pub provider: String,
    /// How it has it open.
    pub mode: Mode,
}

/// How often something is open for reading, writing, and exclusively.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mode {
    /// For reading.
    pub read: u32,
    /// For writing.
    pub write: u32,
    /// Exclusively.
    pub exclusive: u32,
}

impl Mode {
    /// Whether it is open at all.
    pub fn is_open(self) -> bool {
        self != Self::default()
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = text.trim().strip_prefix('r')?;
        let (read, rest) = rest.split_once('w')?;
        let (write, exclusive) = rest.split_once('e')?;
        Some(Self {
            read: read.parse().ok()?,
            write: write.parse().ok()?,
            exclusive: exclusive.parse().ok()?,
        })
    }
}

impl Geom {
    /// A value of the class's own.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.config.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Mesh {
    /// Reads the kernel's text.
    pub fn parse(text: &str) -> Self {
        let mut reader = Reader::default();
        let mut rest = text;
        while let Some((before, tag, after)) = next_tag(rest) {
            reader.text = decode(before);
            rest = after;
            match tag.strip_prefix('/') {
                Some(name) => reader.close(name.trim()),
                None => {
                    let (name, id) = open_tag(tag);
                    if name == "info" {
                        // Nothing in it is markup.
                        let (info, after) = rest.split_once("</info>").unwrap_or((rest, ""));
                        reader.value("info", info.to_owned());
                        rest = after;
                    } else {
                        reader.open(name, id, tag.ends_with('/'));
                    }
                }
            }
        }
        Self {
            geoms: reader.geoms,
        }
    }

    /// The geom and provider of that name in a class.
    pub fn provider(&self, class: &str, name: &str) -> Option<(&Geom, &Provider)> {
        let geoms = self.geoms.iter().filter(|geom| geom.class == class);
        let mut all = geoms.flat_map(|geom| geom.providers.iter().map(move |one| (geom, one)));
        all.find(|(_, provider)| provider.name == name)
    }

    /// Who uses a provider.
    pub fn users<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a Geom, &'a Consumer)> {
        self.geoms.iter().flat_map(move |geom| {
            let consumers = geom.consumers.iter();
            let using = consumers.filter(move |consumer| consumer.provider == id);
            using.map(move |consumer| (geom, consumer))
        })
    }
}

/// The text before the next tag, the tag's inside, and the text after it.
fn next_tag(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('<')?;
    let (tag, after) = rest.split_once('>')?;
    Some((before, tag, after))
}

/// A tag's name, and its one attribute's value (`id` or `ref`).
fn open_tag(tag: &str) -> (&str, &str) {
    let tag = tag.trim_end_matches('/');
    let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    (name, attributes.split('"').nth(1).unwrap_or(""))
}

/// What the reader is inside of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Inside {
    #[default]
    Mesh,
    Class,
    Geom,
    Consumer,
    Provider,
}

#[derive(Default)]
struct Reader {
    geoms: Vec<Geom>,
    class: String,
    inside: Inside,
    /// Inside an element `config`, which belongs to the class.
    config: bool,
    /// Before the tag that is looked at.
    text: String,
}

impl Reader {
    fn open(&mut self, name: &str, id: &str, empty: bool) {
        match (self.inside, name) {
            (_, "config") => self.config = !empty,
            _ if self.config => {}
            (Inside::Mesh, "class") => {
                self.class.clear();
                self.inside = Inside::Class;
            }
            (Inside::Class, "geom") => {
                self.geoms.push(Geom {
                    id: id.to_owned(),
                    class: self.class.clone(),
                    ..Geom::default()
                });
                self.inside = Inside::Geom;
            }
            (Inside::Geom, "consumer") => {
                self.geom(|geom| geom.consumers.push(Consumer::default()));
                self.inside = Inside::Consumer;
            }
            (Inside::Geom, "provider") => {
                let provider = Provider {
                    id: id.to_owned(),
                    ..Provider::default()
                };
                self.geom(|geom| geom.providers.push(provider));
                self.inside = Inside::Provider;
            }
            (Inside::Consumer, "provider") => {
                self.consumer(|consumer| id.clone_into(&mut consumer.provider));
            }
            (Inside::Geom, "wither") => self.geom(|geom| geom.withers = true),
            (Inside::Provider, "wither") => self.provider(|provider| provider.withers = true),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        match (self.inside, name) {
            (_, "config") => self.config = false,
            _ if self.config => {
                let text = std::mem::take(&mut self.text);
                self.value(name, text);
            }
            (Inside::Class, "class") => self.inside = Inside::Mesh,
            (Inside::Geom, "geom") => self.inside = Inside::Class,
            (Inside::Consumer, "consumer") | (Inside::Provider, "provider") => {
                self.inside = Inside::Geom;
            }
            (Inside::Class, "name") => self.class = std::mem::take(&mut self.text),
            _ => {
                let text = std::mem::take(&mut self.text);
                self.fact(name, &text);
            }
        }
    }

    /// What GEOM itself says of something.
    fn fact(&mut self, name: &str, text: &str) {
        match (self.inside, name) {
            (Inside::Geom, "name") => self.geom(|geom| text.clone_into(&mut geom.name)),
            (Inside::Provider, "name") => self.provider(|one| text.clone_into(&mut one.name)),
            (Inside::Provider, "mode") => {
                self.provider(|one| one.mode = Mode::parse(text).unwrap_or_default());
            }
            (Inside::Consumer, "mode") => {
                self.consumer(|one| one.mode = Mode::parse(text).unwrap_or_default());
            }
            (Inside::Provider, "mediasize") => {
                self.provider(|one| one.media_size = text.trim().parse().unwrap_or(0));
            }
            (Inside::Provider, "sectorsize") => {
                self.provider(|one| one.sector_size = text.trim().parse().unwrap_or(0));
            }
            _ => {}
        }
    }

    /// What a class says of its geom.
    fn value(&mut self, name: &str, text: String) {
        if self.inside == Inside::Geom {
            self.geom(|geom| geom.config.push((name.to_owned(), text)));
        }
    }

    fn geom(&mut self, change: impl FnOnce(&mut Geom)) {
        if let Some(geom) = self.geoms.last_mut() {
            change(geom);
        }
    }

    fn consumer(&mut self, change: impl FnOnce(&mut Consumer)) {
        self.geom(|geom| geom.consumers.last_mut().map_or((), change));
    }

    fn provider(&mut self, change: impl FnOnce(&mut Provider)) {
        self.geom(|geom| geom.providers.last_mut().map_or((), change));
    }
}

/// Text without its references (g_conf_cat_escaped writes `&#x3C;`; classes write others).
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        bytes.extend_from_slice(before.as_bytes());
        let reference = after.split_once(';').and_then(|(name, after)| {
            let byte = match name {
                "amp" => b'&',
                "lt" => b'<',
                "gt" => b'>',
                "quot" => b'"',
                "apos" => b'\'',
                _ => u8::from_str_radix(name.strip_prefix("#x")?, 16).ok()?,
            };
            Some((byte, after))
        });
        match reference {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(b'&');
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
