//! One group: its table made into the model, and held against the resources and the other groups.

use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;

use super::tables::{GroupTable, LimitsTable, MountTable, NodeTable, Text, Texts};
use super::taken::{Kind, Taken};
use super::{Reader, values};
use crate::config::{Problem, Tables, in_order};
use crate::failover::group::{
    FailBack, ForceImport, Fsck, Group, HookPoint, Limits, Mount, OnHang, OnLeaseLoss,
    OnUnreachable, Vhid,
};
use crate::terms::UnknownWord;

/// How recently a copy has to have been connected unless told otherwise.
pub const DEFAULT_FRESHNESS: Duration = Duration::from_secs(30);

/// How close events are one unless told otherwise.
pub const DEFAULT_DEBOUNCE: Duration = Duration::from_secs(2);

/// Reads the table of the group `name`.
pub(super) struct GroupReader<'a> {
    pub reader: &'a Reader<'a>,
    pub taken: &'a mut Taken,
    pub name: &'a str,
    /// There is a witness.
    pub witness: bool,
}

/// What may be different on each node.
#[derive(Default)]
struct Own {
    /// With its line.
    carp: Option<(Vhid, usize)>,
    fence: Option<Vec<String>>,
}

impl GroupReader<'_> {
    /// The group, if everything it names is there and is no other's. Its table begins on `line`.
    pub(super) fn read(&mut self, line: usize, table: GroupTable) -> Result<Group, Problem> {
        values::group_name(self.name)
            .map_err(|what| Problem::at(line, format!("group: {what}")))?;
        self.refuse_conflicts(&table)?;
        let resources = self.resources(line, table.resources.as_ref())?;
        let pools = table.pools.as_ref();
        let pools = self.names(Kind::Pool, "pools", pools, values::pool)?;
        let services = table.services.as_ref();
        let services = self.names(Kind::Service, "services", services, values::service)?;
        let mounts = self.mounts(&table.mounts, &resources)?;
        let both = Own {
            carp: self.carp("carp", table.carp.as_ref())?,
            fence: self.command("fence", table.fence.as_ref())?,
        };
        let own = self.own(both, table.on)?;
        let freshness = table.freshness.as_ref();
        let freshness = self.seconds("freshness", freshness, values::FRESHNESS)?;
        let debounce = table.debounce.as_ref();
        let debounce = self.seconds("debounce", debounce, values::DEBOUNCE)?;

        Ok(Group {
            name: self.name.to_owned(),
            resources,
            pools,
            mounts,
            services,
            carp: own.carp.map(|(vhid, _)| vhid),
            on_unreachable: self.word(
                "on-unreachable",
                table.on_unreachable.as_ref(),
                OnUnreachable::Refuse,
            )?,
            fence: own.fence,
            force_import: self.word(
                "force-import",
                table.force_import.as_ref(),
                ForceImport::Never,
            )?,
            fsck: self.word("fsck", table.fsck.as_ref(), Fsck::Preen)?,
            on_hang: self.word("on-hang", table.on_hang.as_ref(), OnHang::Retry)?,
            on_lease_loss: self.word(
                "on-lease-loss",
                table.on_lease_loss.as_ref(),
                OnLeaseLoss::Stop,
            )?,
            fail_back: self.word("fail-back", table.fail_back.as_ref(), FailBack::Manual)?,
            freshness: freshness.unwrap_or(DEFAULT_FRESHNESS),
            debounce: debounce.unwrap_or(DEFAULT_DEBOUNCE),
            limits: self.limits(&table.limits)?,
            hooks: self.hooks(table.hooks)?,
        })
    }

    /// Refuses what promises something that another word takes away.
    fn refuse_conflicts(&self, table: &GroupTable) -> Result<(), Problem> {
        let promote = |text: &&Text| text.get_ref() == OnUnreachable::Promote.word();
        if let Some(text) = table.on_unreachable.as_ref().filter(promote)
            && self.witness
        {
            let what = "promote takes the risk that the witness is there to exclude; expected refuse \
                        or wait, or no witness";
            return Err(self.fault("on-unreachable", text, what));
        }
        if let Some(text) = &table.on_lease_loss
            && !self.witness
        {
            let what = "there is no 'witness' that grants leases";
            return Err(self.fault("on-lease-loss", text, what));
        }
        Ok(())
    }

    fn resources(&mut self, line: usize, list: Option<&Texts>) -> Result<Vec<String>, Problem> {
        let config = self.reader.config;
        let configured = |name: &str| match config.resource(name) {
            Some(resource) => Ok(resource.name.clone()),
            None => Err(format!("no resource '{name}' is configured")),
        };
        let resources = self.names(Kind::Resource, "resources", list, configured)?;
        if resources.is_empty() {
            let line = list.map_or(line, |list| self.reader.line(list.span().start));
            let what = format!("{}: expected one or more", self.key("resources"));
            return Err(Problem::at(line, what));
        }
        Ok(resources)
    }

    /// A list of things that are the group's alone.
    fn names(
        &mut self,
        kind: Kind,
        word: &str,
        list: Option<&Texts>,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> Result<Vec<String>, Problem> {
        let mut names = Vec::new();
        for text in list.iter().flat_map(|list| list.get_ref()) {
            let name = self.reader.value(&self.key(word), text, &read)?;
            let line = self.reader.line(text.span().start);
            self.taken.take(kind, &name, self.name, line)?;
            names.push(name);
        }
        Ok(names)
    }

    fn mounts(
        &mut self,
        tables: &[MountTable],
        resources: &[String],
    ) -> Result<Vec<Mount>, Problem> {
        let key = self.key("mounts");
        let resource = |name: &str| {
            let own = resources.iter().find(|own| *own == name).cloned();
            own.ok_or_else(|| format!("'{name}' is not one of the group's resources"))
        };
        let mut mounts = Vec::new();
        for table in tables {
            let options = table.options.as_ref();
            let mount = Mount {
                resource: self.reader.value(&key, &table.resource, resource)?,
                path: self.reader.value(&key, &table.path, values::path)?,
                options: self.reader.optional(&key, options, values::mount_options)?,
            };
            let line = self.reader.line(table.resource.span().start);
            self.taken
                .take(Kind::Mount, &mount.resource, self.name, line)?;
            let line = self.reader.line(table.path.span().start);
            self.taken.take_path(&mount.path, self.name, line)?;
            mounts.push(mount);
        }
        Ok(mounts)
    }

    /// What is said for both nodes, less what this node has of its own.
    fn own(&mut self, both: Own, tables: Tables<NodeTable>) -> Result<Own, Problem> {
        let own = self.of_this_node(tables)?.unwrap_or_default();
        let own = Own {
            carp: own.carp.or(both.carp),
            fence: own.fence.or(both.fence),
        };
        if let Some((vhid, line)) = &own.carp {
            let name = vhid.to_string();
            self.taken.take(Kind::Address, &name, self.name, *line)?;
        }
        Ok(own)
    }

    fn of_this_node(&self, tables: Tables<NodeTable>) -> Result<Option<Own>, Problem> {
        let nodes = &self.reader.config.nodes;
        let mut own: Option<(Own, String)> = None;
        for (node, line, table) in in_order(self.reader.text, tables) {
            let word = format!("on {node}");
            let fault = |what| Problem::at(line, format!("{}: {what}", self.key(&word)));
            if !nodes.contains(&node) {
                let nodes = nodes.join(", ");
                return Err(fault(format!(
                    "no node is called so; expected one of {nodes}"
                )));
            }
            let read = Own {
                carp: self.carp(&format!("{word}: carp"), table.carp.as_ref())?,
                fence: self.command(&format!("{word}: fence"), table.fence.as_ref())?,
            };
            if !self.reader.node.matches(&node) {
                continue;
            }
            if let Some((_, first)) = own {
                return Err(fault(format!(
                    "this node has 'on {first}', too; expected one of them"
                )));
            }
            own = Some((read, node));
        }
        Ok(own.map(|(own, _)| own))
    }

    fn carp(&self, word: &str, text: Option<&Text>) -> Result<Option<(Vhid, usize)>, Problem> {
        let vhid = self.reader.optional(&self.key(word), text, values::vhid)?;
        let line = text.map_or(0, |text| self.reader.line(text.span().start));
        Ok(vhid.map(|vhid| (vhid, line)))
    }

    /// A program by its path, and its arguments.
    fn command(&self, word: &str, list: Option<&Texts>) -> Result<Option<Vec<String>>, Problem> {
        let Some(list) = list else { return Ok(None) };
        let key = self.key(word);
        let Some(program) = list.get_ref().first() else {
            let what = "expected a program's path, and its arguments";
            return Err(self.reader.fault(&key, Some(list), what));
        };
        self.reader.value(&key, program, values::path)?;
        let arguments = list.get_ref().iter();
        arguments
            .map(|text| self.reader.value(&key, text, values::argument))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn limits(&self, table: &LimitsTable) -> Result<Limits, Problem> {
        let mut limits = Limits::default();
        for (word, value, place) in [
            ("hastd", &table.hastd, &mut limits.hastd),
            ("peer", &table.peer, &mut limits.peer),
            ("promote", &table.promote, &mut limits.promote),
            ("import", &table.import, &mut limits.import),
            ("export", &table.export, &mut limits.export),
            ("fsck", &table.fsck, &mut limits.fsck),
            ("mount", &table.mount, &mut limits.mount),
            ("service", &table.service, &mut limits.service),
            ("fence", &table.fence, &mut limits.fence),
            ("hook", &table.hook, &mut limits.hook),
            ("takeover", &table.takeover, &mut limits.takeover),
        ] {
            let word = format!("limits: {word}");
            if let Some(limit) = self.seconds(&word, value.as_ref(), values::LIMIT)? {
                *place = limit;
            }
        }
        Ok(limits)
    }

    fn hooks(&self, table: Tables<Texts>) -> Result<Vec<(HookPoint, Vec<String>)>, Problem> {
        let mut hooks = Vec::new();
        for (word, line, list) in in_order(self.reader.text, table) {
            let point = values::word(&word)
                .map_err(|what| Problem::at(line, format!("{}: {what}", self.key("hooks"))))?;
            let command = self.command(&format!("hooks: {word}"), Some(&list))?;
            hooks.extend(command.map(|command| (point, command)));
        }
        Ok(hooks)
    }

    fn key(&self, word: &str) -> String {
        format!("group {}: {word}", self.name)
    }

    fn fault<T>(&self, word: &str, value: &Spanned<T>, what: &str) -> Problem {
        self.reader.fault(&self.key(word), Some(value), what)
    }

    fn word<T: FromStr<Err = UnknownWord>>(
        &self,
        word: &str,
        text: Option<&Text>,
        default: T,
    ) -> Result<T, Problem> {
        let key = self.key(word);
        let value = self.reader.optional(&key, text, values::word)?;
        Ok(value.unwrap_or(default))
    }

    fn seconds(
        &self,
        word: &str,
        value: Option<&Spanned<u64>>,
        range: values::Seconds,
    ) -> Result<Option<Duration>, Problem> {
        self.reader.seconds(&self.key(word), value, range)
    }
}
