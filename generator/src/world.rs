//! The new interface, as WIT packages describe it.
//!
//! Everything about `wasi:nn` that an adapter needs is asked for here: core names and flat signatures
//! of functions, layouts of results, cases of enums.

use crate::plan::{Import, NamedTensor};
use anyhow::{Context, Result, bail, ensure};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{
    Function, Int, InterfaceId, LiftLowerAbi, ManglingAndAbi, PackageId, Resolve,
    ResourceIntrinsic, SizeAlign, Type, TypeDefKind, TypeId, WasmImport, WorldKey,
};

/// Core names are those of the synchronous ABI that every release of wit-component reads.
const NAMES: ManglingAndAbi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);

/// WIT packages.
pub struct World {
    resolve: Resolve,
    sizes: SizeAlign,
    packages: Vec<PackageId>,
}

impl World {
    /// Parses WIT packages, each a file name for errors and its text, dependencies first.
    pub fn parse(packages: &[(String, String)]) -> Result<World> {
        let mut resolve = Resolve::default();
        let mut ids = Vec::new();
        for (file, source) in packages {
            let id = resolve
                .push_str(file, source)
                .with_context(|| format!("{file} is not valid WIT"))?;
            ids.push(id);
        }
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve)?;
        Ok(World {
            resolve,
            sizes,
            packages: ids,
        })
    }

    /// The custom section that tells wit-component what the adapter imports: a world of the interfaces that these are of.
    pub fn component_type(&self, imports: &[Import]) -> Result<Vec<u8>> {
        let mut resolve = self.resolve.clone();
        let mut text = "package llm-wasi:adapter;\nworld adapter {\n".to_string();
        for interface in self.interfaces() {
            let name = resolve
                .id_of(interface)
                .context("an interface of a package has a name")?;
            if imports.iter().any(|import| import.module == name) {
                text += &format!("  import {name};\n");
            }
        }
        text += "}\n";
        let adapter = resolve.push_str("adapter.wit", &text)?;
        let world = resolve.select_world(&[adapter], Some("adapter"))?;
        wit_component::metadata::encode(
            &resolve,
            world,
            wit_component::StringEncoding::UTF8,
            None,
            false,
        )
        .context("the adapter's world cannot be encoded")
    }

    fn interfaces(&self) -> impl Iterator<Item = InterfaceId> {
        self.packages
            .iter()
            .flat_map(|id| self.resolve.packages[*id].interfaces.values().copied())
    }

    /// Whether an interface, `wasi:nn/inference` for example, has a function of this name.
    pub fn has_function(&self, interface: &str, function: &str) -> Result<bool> {
        let id = self.interface(interface)?;
        Ok(self.resolve.interfaces[id].functions.contains_key(function))
    }

    /// The core import for a function such as `[method]graph.init-execution-context`.
    pub fn function(&self, interface: &str, function: &str) -> Result<Import> {
        let id = self.interface(interface)?;
        let Some(found) = self.resolve.interfaces[id].functions.get(function) else {
            let names: Vec<&str> = self.resolve.interfaces[id]
                .functions
                .keys()
                .map(String::as_str)
                .collect();
            bail!(
                "{interface} has no function {function:?}: it has {}",
                names.join(", ")
            );
        };
        let (module, name) = self.resolve.wasm_import_name(
            NAMES,
            WasmImport::Func {
                interface: Some(&WorldKey::Interface(id)),
                func: found,
            },
        );
        let signature = self.resolve.wasm_signature(AbiVariant::GuestImport, found);
        let integers = |types: &[WasmType]| {
            types
                .iter()
                .all(|ty| matches!(ty, WasmType::I32 | WasmType::Pointer | WasmType::Length))
        };
        ensure!(
            !signature.indirect_params
                && integers(&signature.params)
                && integers(&signature.results)
                && signature.results.len() <= 1,
            "{interface} {function}: expected flat parameters of type i32, found {:?} -> {:?}",
            signature.params,
            signature.results
        );
        Ok(Import {
            module,
            name,
            params: signature.params.len(),
            gives: !signature.results.is_empty(),
            retptr: signature.retptr,
            payload: self.result_payload(found)?,
        })
    }

    /// The core import that drops an imported resource.
    pub fn drop(&self, interface: &str, resource: &str) -> Result<Import> {
        let id = self.interface(interface)?;
        let resource = self.named_type(interface, resource)?;
        let (module, name) = self.resolve.wasm_import_name(
            NAMES,
            WasmImport::ResourceIntrinsic {
                interface: Some(&WorldKey::Interface(id)),
                resource,
                intrinsic: ResourceIntrinsic::ImportedDrop,
            },
        );
        Ok(Import {
            module,
            name,
            params: 1,
            gives: false,
            retptr: false,
            payload: 0,
        })
    }

    /// Names of an enum's cases by discriminant.
    pub fn enum_cases(&self, interface: &str, name: &str) -> Result<Vec<String>> {
        let id = self.named_type(interface, name)?;
        let TypeDefKind::Enum(found) = &self.resolve.types[id].kind else {
            bail!("{interface} {name}: expected an enum");
        };
        Ok(found.cases.iter().map(|case| case.name.clone()).collect())
    }

    /// The WIT tensor types by discriminant, and the size of an element of each in bytes.
    pub fn element_sizes(&self) -> Result<Vec<(String, u32)>> {
        let cases = self.enum_cases("wasi:nn/tensor", "tensor-type")?;
        cases
            .into_iter()
            .map(|name| {
                // A name ends in its bits.
                let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
                let bits: u32 = digits
                    .parse()
                    .with_context(|| format!("tensor type {name:?} does not end in its bits"))?;
                Ok((name, bits / 8))
            })
            .collect()
    }

    /// Where the payload of a variant lies behind its start.
    pub fn variant_payload(&self, interface: &str, name: &str) -> Result<u32> {
        let id = self.named_type(interface, name)?;
        let TypeDefKind::Variant(found) = &self.resolve.types[id].kind else {
            bail!("{interface} {name}: expected a variant");
        };
        let offset = self
            .sizes
            .payload_offset(found.tag(), found.cases.iter().map(|case| case.ty.as_ref()));
        Ok(u32::try_from(offset.size_wasm32())?)
    }

    /// Layout of a type that is a tuple of a name and a tensor.
    pub fn named_tensor(&self, interface: &str, name: &str) -> Result<NamedTensor> {
        let id = self.named_type(interface, name)?;
        let TypeDefKind::Tuple(tuple) = &self.resolve.types[id].kind else {
            bail!("{interface} {name}: expected a tuple");
        };
        let [Type::String, Type::Id(_)] = tuple.types.as_slice() else {
            bail!("{interface} {name}: expected a string and a tensor");
        };
        let offsets = self.sizes.field_offsets(&tuple.types);
        let [(first, _), (second, _)] = offsets.as_slice() else {
            bail!("{interface} {name}: expected two fields");
        };
        let size = self.sizes.record(&tuple.types).size;
        Ok(NamedTensor {
            name: u32::try_from(first.size_wasm32())?,
            tensor: u32::try_from(second.size_wasm32())?,
            size: u32::try_from(size.size_wasm32())?,
        })
    }

    /// Whether a package such as `llm-wasi:nn` is there.
    pub fn has_package(&self, package: &str) -> bool {
        self.packages.iter().any(|id| {
            let name = &self.resolve.packages[*id].name;
            format!("{}:{}", name.namespace, name.name) == package
        })
    }

    /// Every case name of every enum with this name in any interface.
    pub fn cases_anywhere(&self, name: &str) -> Vec<String> {
        let mut cases = Vec::new();
        for (_, ty) in self.resolve.types.iter() {
            if let (Some(found), TypeDefKind::Enum(kind)) = (&ty.name, &ty.kind)
                && found == name
            {
                cases.extend(kind.cases.iter().map(|case| case.name.clone()));
            }
        }
        cases
    }

    fn interface(&self, path: &str) -> Result<InterfaceId> {
        let (package, interface) = path
            .split_once('/')
            .context("an interface is named package/interface")?;
        for id in &self.packages {
            let found = &self.resolve.packages[*id];
            if format!("{}:{}", found.name.namespace, found.name.name) == package {
                return found.interfaces.get(interface).copied().with_context(|| {
                    let names: Vec<&str> = found.interfaces.keys().map(String::as_str).collect();
                    format!(
                        "{} has no interface {interface:?}: it has {}",
                        found.name,
                        names.join(", ")
                    )
                });
            }
        }
        bail!("no WIT package {package:?} was given")
    }

    /// A type by name; one that is `use`d from elsewhere is followed to where it is defined.
    fn named_type(&self, interface: &str, name: &str) -> Result<TypeId> {
        let id = self.interface(interface)?;
        let mut ty = *self.resolve.interfaces[id]
            .types
            .get(name)
            .with_context(|| format!("{interface} has no type {name:?}"))?;
        while let TypeDefKind::Type(Type::Id(inner)) = self.resolve.types[ty].kind {
            ty = inner;
        }
        Ok(ty)
    }

    fn result_payload(&self, function: &Function) -> Result<u32> {
        let Some(Type::Id(id)) = function.result else {
            return Ok(0);
        };
        let TypeDefKind::Result(result) = &self.resolve.types[id].kind else {
            return Ok(0);
        };
        let offset = self
            .sizes
            .payload_offset(Int::U8, [result.ok.as_ref(), result.err.as_ref()]);
        Ok(u32::try_from(offset.size_wasm32())?)
    }

    /// Every core import that the packages allow, for the check of the finished adapter.
    pub fn imports(&self) -> Vec<(String, String)> {
        let mut names = Vec::new();
        for id in self.interfaces() {
            let key = WorldKey::Interface(id);
            let interface = &self.resolve.interfaces[id];
            for func in interface.functions.values() {
                names.push(self.resolve.wasm_import_name(
                    NAMES,
                    WasmImport::Func {
                        interface: Some(&key),
                        func,
                    },
                ));
            }
            for resource in interface.types.values() {
                if matches!(self.resolve.types[*resource].kind, TypeDefKind::Resource) {
                    names.push(self.resolve.wasm_import_name(
                        NAMES,
                        WasmImport::ResourceIntrinsic {
                            interface: Some(&key),
                            resource: *resource,
                            intrinsic: ResourceIntrinsic::ImportedDrop,
                        },
                    ));
                }
            }
        }
        names
    }
}
