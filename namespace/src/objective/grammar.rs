//! What of CEL a condition may be made of: no loops, no function that there is not, and no deeper than is evaluated on a
//! request's stack. Found out before anything is evaluated. What is asked of silos becomes variables.

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};

use super::seen::{Asked, FIELDS};
use crate::limits::{CONDITION_DEPTH, CONDITION_NODES};

/// CEL's own functions; its operators have names that are no words.
const FUNCTIONS: [&str; 12] =
    ["contains", "startsWith", "endsWith", "matches", "size", "string", "int", "uint", "double", "bool", "min", "max"];
/// What asks a silo.
const SILO: &str = "silo";

/// What an expression uses.
#[derive(Default)]
pub(super) struct Used {
    pub names: Vec<String>,
    pub asked: Vec<Asked>,
}

/// Why an expression is none of a condition, and the word that says so.
type Refused = (String, Option<String>);

/// What an expression uses, which asks variables instead of silos from then on; or what it may not be made of.
pub(super) fn look(expression: &mut IdedExpr, ours: &dyn Fn(&str) -> bool) -> Result<Used, Refused> {
    let (mut used, mut left, mut nodes) = (Used::default(), vec![(expression, 0)], 0);
    while let Some((expression, depth)) = left.pop() {
        nodes += 1;
        if depth > CONDITION_DEPTH || nodes > CONDITION_NODES {
            return Err(("it is nested too deeply, or too long".to_owned(), None));
        }
        if let Some(asked) = asked(&expression.expr)? {
            expression.expr = Expr::Ident(asked.variable.clone());
            used.asked.push(asked);
            continue;
        }
        match &expression.expr {
            Expr::Ident(name) => used.names.push(name.clone()),
            Expr::Call(call) => refuse_unknown(&call.func_name, ours)?,
            Expr::Comprehension(_) => {
                return Err(("a condition has no loops (`all`, `exists`, `map`, `filter`)".to_owned(), None));
            }
            Expr::Struct(_) => return Err(("a condition makes no messages".to_owned(), None)),
            _ => {}
        }
        left.extend(parts(&mut expression.expr).into_iter().map(|part| (part, depth + 1)));
    }
    Ok(used)
}

fn refuse_unknown(name: &str, ours: &dyn Fn(&str) -> bool) -> Result<(), Refused> {
    let fields = FIELDS.map(|(field, _)| field).join(", ");
    let word = name.starts_with(|c: char| c.is_ascii_alphabetic());
    match word && !FUNCTIONS.contains(&name) && !ours(name) {
        false => Ok(()),
        true if name == SILO => Err((
            format!("a silo is asked by its name for one of {fields}: `silo(\"NAME\").full`"),
            Some(name.to_owned()),
        )),
        true => Err((format!("there is no function `{name}`"), Some(name.to_owned()))),
    }
}

/// What is asked of a silo here: `silo("NAME").FIELD`.
fn asked(expression: &Expr) -> Result<Option<Asked>, Refused> {
    let Expr::Select(select) = expression else { return Ok(None) };
    let Expr::Call(call) = &select.operand.expr else { return Ok(None) };
    let [IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] = &call.args[..] else { return Ok(None) };
    if call.func_name != SILO || call.target.is_some() || select.test {
        return Ok(None);
    }
    let (silo, word) = (name.inner().to_owned(), select.field.as_str());
    let known = FIELDS.iter().find(|(field, _)| *field == word);
    let (_, field) = known.ok_or_else(|| {
        let fields = FIELDS.map(|(field, _)| field).join(", ");
        (format!("a silo has no `{word}`: it is asked for one of {fields}"), Some(word.to_owned()))
    })?;
    let variable = format!("silo(\"{silo}\").{word}");
    Ok(Some(Asked { silo, field: *field, variable, at: None }))
}

/// What an expression is made of.
fn parts(expression: &mut Expr) -> Vec<&mut IdedExpr> {
    match expression {
        Expr::Select(select) => vec![&mut select.operand],
        Expr::List(list) => list.elements.iter_mut().collect(),
        Expr::Call(call) => call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args).collect(),
        Expr::Map(map) => {
            let entries = map.entries.iter_mut().flat_map(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => vec![&mut entry.key, &mut entry.value],
                EntryExpr::StructField(field) => vec![&mut field.value],
            });
            entries.collect()
        }
        _ => Vec::new(),
    }
}

/// What an expression depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Nothing,
    Silos,
    Objects,
}

/// The largest parts of an expression that depend on silos, and on nothing that differs between objects; `of_objects` are functions
/// that do.
pub(super) fn of_silos(expression: &mut IdedExpr, asked: &[Asked], of_objects: &dyn Fn(&str) -> bool) -> Vec<IdedExpr> {
    let mut found = Vec::new();
    if depends(expression, asked, of_objects, &mut found) == On::Silos {
        found.push(expression.clone());
    }
    found
}

fn depends(
    expression: &mut IdedExpr,
    asked: &[Asked],
    of_objects: &dyn Fn(&str) -> bool,
    found: &mut Vec<IdedExpr>,
) -> On {
    let own = match &expression.expr {
        Expr::Ident(name) if asked.iter().any(|asked| asked.variable == *name) => On::Silos,
        Expr::Ident(_) => On::Objects,
        Expr::Call(call) if of_objects(&call.func_name) => On::Objects,
        _ => On::Nothing,
    };
    let mut within = Vec::new();
    for part in parts(&mut expression.expr) {
        within.push((depends(part, asked, of_objects, found), part));
    }
    let all = within.iter().map(|(on, _)| *on).max().unwrap_or(On::Nothing).max(own);
    if all == On::Objects {
        found.extend(within.into_iter().filter(|(on, _)| *on == On::Silos).map(|(_, part)| part.clone()));
    }
    all
}
