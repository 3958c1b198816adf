//! The server's binary interface: the only file of this crate with unsafe code, which is why it is a long one.
//!
//! Why each kind of it is sound:
//! - *arguments*: the SQL declarations in `sql/`, by subject fix number and types; a function that is not STRICT
//!   asks [`Call::is_null`] before it reads. The declared types are what the readers below assume.
//! - *varlena*: read through the server's own size macros; what may be compressed or external is detoasted first.
//!   Slices live until the call returns, as do the bytes they point to.
//! - *internal state*: type `internal` cannot be made from SQL, so a state pointer is one that [`Call::new_state`]
//!   returned for the same aggregate. It lives in the aggregate's memory context and is never freed by us.
//! - *lists and buffers* own memory of one context, grow by copying, and hand out only what was written.
//! - *rows* are formed by the server from as many values as the type has columns; the SQL fixes their types.
//! - *detoasted copies*: a [`Varlena`] frees what it had to copy; it is the only one that knows of the copy.
//! - *server functions* are called through pgrx, which turns their longjmp into a panic and back at our edge.
//! - *roles*: [`open_cursor_as`] alone changes the role that runs, for one call and in the server's own way; an error
//!   in it ends the (sub)transaction, whose end gives the role back.

use super::error::SqlError;
use crate::measures::rate::Rate;
use crate::measures::sketch::Buffer;
use crate::measures::zone::{Stretch, Zone};
use pgrx::pg_sys::{self, Datum};
use pgrx::varlena;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Seconds from 1970 to 2000, where the server's moments begin.
const EPOCH_SECONDS: i64 = 946_684_800;

/// What a function returns: a Datum, NULL, or an error.
pub type Answer = Result<Option<Datum>, SqlError>;

/// Export `fn name(call) -> Answer` under the SQL function's C name.
macro_rules! sql_functions {
    ($($(#[$doc:meta])* fn $name:ident($call:ident) $body:block)*) => {$(
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name)))]
            extern "C" fn finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
                const V1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
            #[unsafe(export_name = stringify!($name))]
            #[pgrx::pg_guard]
            extern "C-unwind" fn entry(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                let call = $crate::extension::abi::Call::new(fcinfo);
                let answer = $name(&call);
                call.finish(answer)
            }
        };
        $(#[$doc])*
        #[inline]
        fn $name($call: &$crate::extension::abi::Call) -> $crate::extension::abi::Answer $body
    )*};
}
pub(crate) use sql_functions;

/// One call of a function.
pub struct Call {
    info: pg_sys::FunctionCallInfo,
}

impl Call {
    /// Wrap what the server passed.
    #[inline]
    pub fn new(info: pg_sys::FunctionCallInfo) -> Self {
        Self { info }
    }

    /// Hand the answer to the server; raises an error.
    #[inline]
    pub fn finish(&self, answer: Answer) -> Datum {
        match answer {
            Ok(Some(datum)) => datum,
            Ok(None) => {
                // SAFETY: the server passes a valid call record.
                unsafe { (*self.info).isnull = true };
                Datum::null()
            }
            Err(error) => error.raise(),
        }
    }

    #[inline]
    fn argument(&self, position: usize) -> pg_sys::NullableDatum {
        // SAFETY: the record holds `nargs` arguments; positions come from this crate and match the SQL.
        unsafe {
            debug_assert!(position < (*self.info).nargs as usize);
            *(*self.info).args.as_ptr().add(position)
        }
    }

    /// Whether the argument is NULL.
    #[inline]
    pub fn is_null(&self, position: usize) -> bool {
        self.argument(position).isnull
    }

    /// A double precision argument.
    #[inline]
    pub fn float8(&self, position: usize) -> f64 {
        f64::from_bits(self.argument(position).value.value() as u64)
    }

    /// A real argument.
    #[inline]
    pub fn float4(&self, position: usize) -> f32 {
        f32::from_bits(self.argument(position).value.value() as u32)
    }

    /// A bigint or timestamptz argument.
    #[inline]
    pub fn int8(&self, position: usize) -> i64 {
        self.argument(position).value.value() as i64
    }

    /// An integer argument.
    #[inline]
    pub fn int4(&self, position: usize) -> i32 {
        self.argument(position).value.value() as i32
    }

    /// A date argument: days since 2000-01-01.
    #[inline]
    pub fn date(&self, position: usize) -> i32 {
        self.int4(position)
    }

    /// A smallint argument.
    #[inline]
    pub fn int2(&self, position: usize) -> i16 {
        self.argument(position).value.value() as i16
    }

    /// A boolean argument.
    #[inline]
    pub fn boolean(&self, position: usize) -> bool {
        self.argument(position).value.value() & 1 == 1
    }

    /// A numeric argument, as the nearest double; beyond doubles it is infinite, as the cast has it.
    pub fn numeric(&self, position: usize) -> f64 {
        numeric_float8(self.argument(position).value)
    }

    /// The bytes of a variable-length argument: quantile_sketch, bytea or text. What has to be copied for it lasts as
    /// long as the server's memory context: for aggregates, whose context goes with each row.
    #[inline]
    pub fn bytes(&self, position: usize) -> &[u8] {
        // SAFETY: the argument is declared with a varlena type, so the pointer is a valid varlena.
        unsafe { varlena_bytes(self.argument(position).value) }
    }

    /// The same; what had to be copied is freed with the result. Comparisons run thousands of times in one memory
    /// context (a sort, an index), where copies that stay would add up to the whole table many times over.
    #[inline]
    pub fn varlena(&self, position: usize) -> Varlena<'_> {
        // SAFETY: the argument is declared with a varlena type; nobody else frees the copy.
        unsafe {
            let (plain, is_copy) = plain_varlena(self.argument(position).value);
            Varlena {
                bytes: content(plain),
                copy: is_copy.then_some(plain),
            }
        }
    }

    /// The argument of an input function. It may be as long as the server's limit, so whoever copies it looks at its
    /// length first: a Rust copy that the machine has no memory for ends the whole server.
    pub fn cstring(&self, position: usize) -> &[u8] {
        let pointer = self
            .argument(position)
            .value
            .cast_mut_ptr::<std::ffi::c_char>();
        // SAFETY: the argument is declared cstring: it ends with a zero byte.
        unsafe { std::ffi::CStr::from_ptr(pointer) }.to_bytes()
    }

    /// A uuid argument.
    #[inline]
    pub fn uuid(&self, position: usize) -> [u8; 16] {
        let pointer = self.argument(position).value.cast_mut_ptr::<[u8; 16]>();
        // SAFETY: the argument is declared uuid: sixteen bytes by reference.
        unsafe { *pointer }
    }

    /// What is left of the message that a receive function was given; marks it as read.
    pub fn message(&self) -> &[u8] {
        let buffer = self
            .argument(0)
            .value
            .cast_mut_ptr::<pg_sys::StringInfoData>();
        // SAFETY: a receive function's argument is a StringInfo whose data is `len` bytes, of which `cursor` were read.
        unsafe {
            let (cursor, length) = (
                (*buffer).cursor.max(0) as usize,
                (*buffer).len.max(0) as usize,
            );
            let bytes = std::slice::from_raw_parts(
                (*buffer).data.cast::<u8>().add(cursor.min(length)),
                length.saturating_sub(cursor),
            );
            (*buffer).cursor = (*buffer).len;
            bytes
        }
    }

    /// A rate argument: sixteen bytes by reference.
    #[inline]
    pub fn rate(&self, position: usize) -> Result<Rate, SqlError> {
        let pointer = self.argument(position).value.cast_mut_ptr::<[i64; 2]>();
        // SAFETY: the argument is declared rate: 16 bytes, aligned as a double.
        let [hits, total] = unsafe { *pointer };
        Ok(Rate::new(hits, total)?)
    }

    /// Write a rate over the argument in place when this is an aggregate's own state, else return a new one.
    #[inline]
    pub fn replace_rate(&self, position: usize, rate: Rate) -> Datum {
        if self.is_null(position) || !self.in_aggregate() {
            return new_rate(rate);
        }
        let datum = self.argument(position).value;
        // SAFETY: inside an aggregate the first argument is its transition value, which the server lets us change.
        unsafe { *datum.cast_mut_ptr::<[i64; 2]>() = [rate.hits(), rate.total()] };
        datum
    }

    /// The kind of node that calls, if any.
    #[inline]
    fn caller(&self) -> Option<pg_sys::NodeTag> {
        // SAFETY: `context` is NULL or a node, whose first word is its tag.
        unsafe { (*self.info).context.as_ref() }.map(|context| context.type_)
    }

    #[inline]
    fn in_aggregate(&self) -> bool {
        self.in_window() || self.caller() == Some(pg_sys::NodeTag::T_AggState)
    }

    /// Whether an aggregate over the frames of a window calls.
    #[inline]
    pub fn in_window(&self) -> bool {
        self.caller() == Some(pg_sys::NodeTag::T_WindowAggState)
    }

    /// The memory context that an aggregate's state lives in; an error outside an aggregate.
    fn aggregate_context(&self) -> Result<pg_sys::MemoryContext, SqlError> {
        let mut context: pg_sys::MemoryContext = std::ptr::null_mut();
        // SAFETY: the server fills in the context when the call comes from an aggregate.
        let kind = unsafe { pg_sys::AggCheckCallContext(self.info, &mut context) };
        if kind == 0 || context.is_null() {
            return Err(SqlError::new(
                pgrx::PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "this function works only inside an aggregate",
                "It is a step of an aggregate of agent_metrics.",
                "Call the aggregate instead.",
            ));
        }
        Ok(context)
    }

    /// The aggregate's state, if the argument is not NULL.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the state is not part of the call: it lives in a memory context"
    )]
    pub fn state<T>(&self, position: usize) -> Option<&mut T> {
        let argument = self.argument(position);
        if argument.isnull {
            return None;
        }
        // SAFETY: `internal` arguments are pointers that `new_state::<T>` made for this aggregate (see the module doc);
        // one call is the only user of a state while it runs.
        unsafe { argument.value.cast_mut_ptr::<T>().as_mut() }
    }

    /// A new state in the aggregate's memory context. `make` gets the context for the buffers inside it.
    pub fn new_state<T>(
        &self,
        make: impl FnOnce(pg_sys::MemoryContext) -> T,
    ) -> Result<(Datum, &mut T), SqlError> {
        let context = self.aggregate_context()?;
        Ok(place(context, make(context)))
    }

    /// A new state in the current memory context: for a deserialize function, whose result lives only
    /// until it is combined.
    #[expect(
        clippy::mut_from_ref,
        reason = "the state is not part of the call: it lives in a memory context"
    )]
    pub fn new_short_state<T>(
        &self,
        make: impl FnOnce(pg_sys::MemoryContext) -> T,
    ) -> (Datum, &mut T) {
        // SAFETY: the server always has a current memory context.
        let context = unsafe { pg_sys::CurrentMemoryContext };
        place(context, make(context))
    }
}

/// The bytes of a variable-length value, detoasted if need be.
///
/// # Safety
/// The datum is a varlena; a copy lives as long as the current memory context.
#[inline]
unsafe fn varlena_bytes<'a>(datum: Datum) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe { content(plain_varlena(datum).0) }
}

/// A variable-length value as it can be read, and whether that is a copy of our own.
///
/// # Safety
/// The datum is a varlena.
#[inline]
unsafe fn plain_varlena(datum: Datum) -> (*mut pg_sys::varlena, bool) {
    let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: the caller's.
    unsafe {
        if varlena::varatt_is_4b_u(pointer)
            || (varlena::varatt_is_1b(pointer) && !varlena::varatt_is_1b_e(pointer))
        {
            (pointer, false)
        } else {
            let plain = pg_sys::pg_detoast_datum_packed(pointer);
            (plain, plain != pointer)
        }
    }
}

/// The content of a varlena that is neither compressed nor external.
///
/// # Safety
/// It is a plain varlena, and stays where it is as long as the content is used.
#[inline]
unsafe fn content<'a>(plain: *const pg_sys::varlena) -> &'a [u8] {
    // SAFETY: the caller's; the header says how long it is.
    unsafe {
        std::slice::from_raw_parts(
            varlena::vardata_any(plain).cast(),
            varlena::varsize_any_exhdr(plain),
        )
    }
}

fn numeric_float8(numeric: Datum) -> f64 {
    // SAFETY: the value is a numeric; numeric_float8_no_overflow takes one and returns a float8.
    let datum = unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::numeric_float8_no_overflow, &[Some(numeric)])
    };
    f64::from_bits(datum.map_or(f64::NAN.to_bits() as usize, |datum| datum.value()) as u64)
}

/// The bytes of a variable-length argument; see [`Call::varlena`].
pub struct Varlena<'a> {
    bytes: &'a [u8],
    copy: Option<*mut pg_sys::varlena>,
}

impl Deref for Varlena<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Varlena<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(copy) = self.copy {
            // SAFETY: the copy is ours alone, and the bytes that pointed to it go with this value.
            unsafe { pg_sys::pfree(copy.cast()) };
        }
    }
}

/// Lets the server end the statement: a cancelled query, a timeout, a shutdown. Any loop whose length a caller can
/// choose asks now and then.
#[inline]
pub fn check_for_interrupts() {
    pgrx::check_for_interrupts!();
}

fn place<'a, T>(context: pg_sys::MemoryContext, value: T) -> (Datum, &'a mut T) {
    // SAFETY: the allocation has the size of T and the server's maximal alignment; it lives as long as the context,
    // which outlives the call.
    unsafe {
        let pointer = pg_sys::MemoryContextAlloc(context, size_of::<T>()).cast::<T>();
        pointer.write(value);
        (Datum::from(pointer), &mut *pointer)
    }
}

/// A buffer in a memory context of the server, so that it counts against work_mem and goes when the context goes.
pub struct PgBuffer<T> {
    context: pg_sys::MemoryContext,
    /// Dangling while `length` is 0.
    pointer: NonNull<T>,
    length: usize,
    kind: PhantomData<T>,
}

impl<T: Copy> PgBuffer<T> {
    /// An empty buffer that will grow in `context`.
    pub fn new(context: pg_sys::MemoryContext) -> Self {
        Self {
            context,
            pointer: NonNull::dangling(),
            length: 0,
            kind: PhantomData,
        }
    }
}

impl<T: Copy> Deref for PgBuffer<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the pointer is to `length` initialised elements (zeroed integers) that only this buffer refers to.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

impl<T: Copy> DerefMut for PgBuffer<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and we hold the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

impl<T: Copy> Buffer<T> for PgBuffer<T> {
    #[cold]
    fn grow(&mut self, length: usize) {
        if length <= self.length {
            return;
        }
        // SAFETY: T is an integer, for which zero bytes are a value; the server raises an error for a
        // size beyond its limit.
        unsafe {
            let pointer =
                pg_sys::MemoryContextAllocZero(self.context, length * size_of::<T>()).cast::<T>();
            if self.length > 0 {
                std::ptr::copy_nonoverlapping(self.pointer.as_ptr(), pointer, self.length);
                pg_sys::pfree(self.pointer.as_ptr().cast());
            }
            // The server raises an error rather than return NULL.
            self.pointer = NonNull::new_unchecked(pointer);
        }
        self.length = length;
    }
}

/// A list that grows in a memory context of the server. What it holds is moved as bytes and never dropped.
pub struct PgVec<T> {
    context: pg_sys::MemoryContext,
    /// Dangling while `capacity` is 0.
    pointer: NonNull<T>,
    length: usize,
    capacity: usize,
}

impl<T> PgVec<T> {
    /// An empty list that will grow in `context`.
    pub fn new(context: pg_sys::MemoryContext) -> Self {
        Self {
            context,
            pointer: NonNull::dangling(),
            length: 0,
            capacity: 0,
        }
    }

    #[cold]
    fn reserve(&mut self, more: usize) {
        let capacity = self
            .length
            .saturating_add(more)
            .max(self.capacity.saturating_mul(2))
            .max(16);
        // SAFETY: the server raises an error for a size that is too large, a saturated one too, and never returns NULL.
        // The first `length` elements move to the new place.
        unsafe {
            let size = capacity.saturating_mul(size_of::<T>());
            let pointer = pg_sys::MemoryContextAllocHuge(self.context, size).cast::<T>();
            if self.capacity > 0 {
                std::ptr::copy_nonoverlapping(self.pointer.as_ptr(), pointer, self.length);
                pg_sys::pfree(self.pointer.as_ptr().cast());
            }
            self.pointer = NonNull::new_unchecked(pointer);
        }
        self.capacity = capacity;
    }

    /// Put one more at the end.
    #[inline]
    pub fn push(&mut self, value: T) {
        if self.length == self.capacity {
            self.reserve(1);
        }
        // SAFETY: there is room for one more.
        unsafe { self.pointer.as_ptr().add(self.length).write(value) };
        self.length += 1;
    }
}

impl<T: Copy> PgVec<T> {
    /// Put all of these at the end.
    #[inline]
    pub fn extend(&mut self, values: &[T]) {
        if self.capacity - self.length < values.len() {
            self.reserve(values.len());
        }
        // SAFETY: there is room for them, in memory that is ours alone.
        unsafe {
            std::ptr::copy_nonoverlapping(
                values.as_ptr(),
                self.pointer.as_ptr().add(self.length),
                values.len(),
            );
        }
        self.length += values.len();
    }
}

impl<T> Deref for PgVec<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` elements were written, and only this list refers to them.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for PgVec<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and we hold the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.length) }
    }
}

/// An exact sum of numerics, in a memory context of the server.
pub struct Amount(Option<Datum>);

impl Amount {
    /// No amount yet.
    pub const NONE: Self = Self(None);

    /// Add a numeric argument, which may be NULL.
    pub fn add(&mut self, call: &Call, position: usize, context: pg_sys::MemoryContext) {
        let argument = call.argument(position);
        if !argument.isnull {
            // SAFETY: the argument is declared numeric.
            unsafe { self.add_numeric(argument.value, context) };
        }
    }

    /// Add a numeric column of a row, which is not NULL.
    pub fn add_field(&mut self, fields: &Fields, column: usize, context: pg_sys::MemoryContext) {
        // SAFETY: the caller asked whether the column is a numeric.
        unsafe { self.add_numeric(fields.value(column), context) };
    }

    /// # Safety
    /// The datum is a numeric.
    unsafe fn add_numeric(&mut self, value: Datum, context: pg_sys::MemoryContext) {
        // SAFETY: the value is a numeric, and so is what we keep; numeric_add takes two and returns a new one. What is
        // kept is copied to `context`, from which the former sum goes.
        unsafe {
            // A 0 without decimals is two bytes of header, and adds nothing to what is there.
            if self.0.is_some() && varlena_bytes(value) == 0x8000_u16.to_ne_bytes() {
                return;
            }
            let sum = match self.0 {
                Some(sum) => pgrx::direct_function_call_as_datum(
                    pg_sys::numeric_add,
                    &[Some(sum), Some(value)],
                ),
                None => Some(value),
            };
            let Some(sum) = sum else { return };
            let before = pg_sys::MemoryContextSwitchTo(context);
            let kept = pg_sys::pg_detoast_datum_copy(sum.cast_mut_ptr());
            pg_sys::MemoryContextSwitchTo(before);
            if let Some(former) = self.0.replace(Datum::from(kept)) {
                pg_sys::pfree(former.cast_mut_ptr());
            }
        }
    }

    /// The sum; 0 of nothing.
    pub fn datum(&self) -> Datum {
        self.0.unwrap_or_else(zero)
    }
}

/// The numeric 0.
pub fn zero() -> Datum {
    // SAFETY: makes a new numeric of an integer.
    Datum::from(unsafe { pg_sys::int64_to_numeric(0) })
}

/// An attribute of a description, where the server's version has it: since 18 behind all the compact ones.
///
/// # Safety
///
/// The description lives as long as what is returned, and has more attributes than `position`.
unsafe fn attribute_of<'a>(
    description: pg_sys::TupleDesc,
    position: usize,
) -> &'a pg_sys::FormData_pg_attribute {
    // SAFETY: the caller's promise; the server lays the attributes out like this.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        let first = (*description).attrs.as_ptr();
        #[cfg(feature = "pg18")]
        let first = {
            let compact = (*description).compact_attrs.as_ptr();
            compact
                .add((*description).natts as usize)
                .cast::<pg_sys::FormData_pg_attribute>()
        };
        &*first.add(position)
    }
}

/// A composite type, whose rows are made here.
pub struct RowType {
    oid: pg_sys::Oid,
    columns: pg_sys::TupleDesc,
}

impl RowType {
    /// The composite type of that name, schema included. A function asks for one name only: it is
    /// looked up once a query.
    pub fn cached<'a>(call: &'a Call, name: &str) -> &'a Self {
        // SAFETY: a call has its function's record, whose `fn_extra` is ours and lives as long as `fn_mcxt`.
        unsafe {
            let function = &mut *(*call.info).flinfo;
            if function.fn_extra.is_null() {
                let before = pg_sys::MemoryContextSwitchTo(function.fn_mcxt);
                let kind = Self::named(name);
                pg_sys::MemoryContextSwitchTo(before);
                let (_, kind) = place(function.fn_mcxt, kind);
                function.fn_extra = std::ptr::from_mut(kind).cast();
            }
            &*function.fn_extra.cast::<Self>()
        }
    }

    /// The composite type of that name, schema included.
    pub fn named(name: &str) -> Self {
        let oid = pgrx::regtypein(name);
        // SAFETY: the server raises an error for what is no composite type; the description is a copy in the current
        // memory context.
        let columns = unsafe { pg_sys::lookup_rowtype_tupdesc_copy(oid, -1) };
        Self { oid, columns }
    }

    fn other() -> SqlError {
        SqlError::new(
            pgrx::PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            "a composite type of agent_metrics is not the one that the library knows",
            "Library and SQL objects are of different versions.",
            "Run ALTER EXTENSION agent_metrics UPDATE.",
        )
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        // SAFETY: the description is a copy of our own.
        unsafe { (*self.columns).natts.max(0) as usize }
    }

    fn attribute(&self, column: usize) -> Option<&pg_sys::FormData_pg_attribute> {
        // SAFETY: the description is a copy of our own, and the column one of it.
        (column < self.len()).then(|| unsafe { attribute_of(self.columns, column) })
    }

    /// Whether the column is of that type.
    pub fn is_of(&self, column: usize, kind: Kind) -> bool {
        self.attribute(column)
            .is_some_and(|one| kind.is_of(one.atttypid))
    }

    /// Whether the column holds what is of variable length, such as a text or a sketch.
    pub fn is_varlena(&self, column: usize) -> bool {
        self.attribute(column)
            .is_some_and(|one| one.attlen == -1 && !one.attisdropped)
    }

    /// An error unless each column is one that the caller can read.
    pub fn check(&self, can_read: impl Fn(usize) -> bool) -> Result<(), SqlError> {
        if (0..self.len()).all(can_read) {
            Ok(())
        } else {
            Err(Self::other())
        }
    }

    /// Where the columns of these names stand; an error where one is not there.
    pub fn places<const N: usize>(&self, names: [&str; N]) -> Result<[usize; N], SqlError> {
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            let is_it = |column: &usize| {
                self.attribute(*column)
                    .is_some_and(|one| pgrx::name_data_to_str(&one.attname) == name)
            };
            *place = (0..self.len()).find(is_it).ok_or_else(Self::other)?;
        }
        Ok(places)
    }

    /// The columns of a row of this type: an argument that is not NULL.
    pub fn fields<'a>(&self, call: &'a Call, position: usize) -> Result<Fields<'a>, SqlError> {
        let mut fields = Fields {
            values: vec![Datum::null(); self.len()],
            nulls: vec![true; self.len()],
            kind: PhantomData,
        };
        // SAFETY: the argument is declared with a composite type, whose header names the type; heap_deform_tuple writes
        // as many values as the description has columns.
        unsafe {
            let row: pg_sys::HeapTupleHeader =
                pg_sys::pg_detoast_datum(call.argument(position).value.cast_mut_ptr()).cast();
            if pgrx::heap_tuple_header_get_type_id(row) != self.oid {
                return Err(Self::other());
            }
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::heap_tuple_header_get_datum_length(row) as u32,
                t_data: row,
                ..Default::default()
            };
            pg_sys::heap_deform_tuple(
                &mut tuple,
                self.columns,
                fields.values.as_mut_ptr(),
                fields.nulls.as_mut_ptr(),
            );
        }
        Ok(fields)
    }

    /// A row of this type: a value for each column.
    pub fn row<const N: usize>(&self, values: [Option<Datum>; N]) -> Result<Datum, SqlError> {
        self.row_of(values.to_vec())
    }

    /// A row of this type with values at some places and NULL elsewhere.
    pub fn row_at<const N: usize>(
        &self,
        places: &[usize; N],
        values: [Option<Datum>; N],
    ) -> Result<Datum, SqlError> {
        let mut all = vec![None; self.len()];
        for (place, value) in places.iter().zip(values) {
            if let Some(one) = all.get_mut(*place) {
                *one = value;
            }
        }
        self.row_of(all)
    }

    /// A row of this type: a value for each column.
    pub fn row_of(&self, values: Vec<Option<Datum>>) -> Result<Datum, SqlError> {
        if values.len() != self.len() {
            return Err(Self::other());
        }
        let mut nulls: Vec<bool> = values.iter().map(Option::is_none).collect();
        let mut values: Vec<Datum> = values
            .into_iter()
            .map(|value| value.unwrap_or(Datum::null()))
            .collect();
        // SAFETY: as many values as columns, of the types that the SQL declares in this order.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(self.columns, values.as_mut_ptr(), nulls.as_mut_ptr());
            Ok(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
        }
    }

    /// An array of such rows; NULL for none.
    pub fn array(&self, rows: Vec<Datum>) -> Option<Datum> {
        new_array(rows, self.oid, b'd')
    }
}

/// The columns of a composite argument.
pub struct Fields<'a> {
    values: Vec<Datum>,
    nulls: Vec<bool>,
    kind: PhantomData<&'a Call>,
}

impl Fields<'_> {
    /// Whether the column is NULL.
    pub fn is_null(&self, column: usize) -> bool {
        self.nulls.get(column).copied().unwrap_or(true)
    }

    fn value(&self, column: usize) -> Datum {
        self.values.get(column).copied().unwrap_or(Datum::null())
    }

    /// A bigint that is not NULL.
    pub fn int8(&self, column: usize) -> i64 {
        self.value(column).value() as i64
    }

    /// The bytes of a text or a sketch; none of NULL.
    pub fn bytes(&self, column: usize) -> &[u8] {
        if self.is_null(column) {
            return &[];
        }
        // SAFETY: the column is of a varlena type and not NULL.
        unsafe { varlena_bytes(self.value(column)) }
    }
}

/// An array of texts; NULL for none.
pub fn text_array(texts: Vec<Datum>) -> Option<Datum> {
    new_array(texts, pg_sys::TEXTOID, b'i')
}

fn new_array(mut values: Vec<Datum>, kind: pg_sys::Oid, alignment: u8) -> Option<Datum> {
    if values.is_empty() {
        return None;
    }
    // SAFETY: all values are variable-length ones of that type, none is NULL.
    Some(Datum::from(unsafe {
        pg_sys::construct_array(
            values.as_mut_ptr(),
            i32::try_from(values.len()).unwrap_or(i32::MAX),
            kind,
            -1,
            false,
            alignment as std::ffi::c_char,
        )
    }))
}

/// A time zone as the server knows it; what it knows stays the same while the process lives.
#[derive(Debug, Clone, Copy)]
pub struct ServerZone(*const pg_sys::pg_tz);

impl ServerZone {
    /// The zone of that name in the server's time zone database; not an abbreviation, which AT TIME
    /// ZONE looks for first.
    pub fn named(name: &[u8]) -> Option<Self> {
        let name = std::ffi::CString::new(name).ok()?;
        // SAFETY: pg_tzset takes a string that ends with a zero byte and returns NULL, or what it never frees.
        let zone = unsafe { pg_sys::pg_tzset(name.as_ptr()) };
        (!zone.is_null()).then_some(Self(zone))
    }
}

impl Zone for ServerZone {
    fn stretch(&self, at: i64) -> Stretch {
        let second = at.div_euclid(1_000_000) + EPOCH_SECONDS;
        let (mut offset, mut boundary, mut offset_after) = (0, 0, 0);
        let (mut is_summer, mut is_summer_after) = (0, 0);
        // SAFETY: all are places of the right type, and the zone is one that pg_tzset returned.
        let found = unsafe {
            pg_sys::pg_next_dst_boundary(
                &second,
                &mut offset,
                &mut is_summer,
                &mut boundary,
                &mut offset_after,
                &mut is_summer_after,
                self.0,
            )
        };
        Stretch {
            offset: offset.saturating_mul(1_000_000),
            ends: if found == 1 {
                (boundary - EPOCH_SECONDS).saturating_mul(1_000_000)
            } else {
                i64::MAX
            },
        }
    }
}

/// An interval of microseconds.
pub fn interval(microseconds: i64) -> Datum {
    fixed(pg_sys::Interval {
        time: microseconds,
        day: 0,
        month: 0,
    })
}

/// A double precision result.
#[inline]
pub fn float8(value: f64) -> Datum {
    Datum::from(value.to_bits() as usize)
}

/// A bigint or timestamptz result.
#[inline]
pub fn int8(value: i64) -> Datum {
    Datum::from(value)
}

/// An integer result.
#[inline]
pub fn int4(value: i32) -> Datum {
    Datum::from(value)
}

/// A boolean result.
#[inline]
pub fn boolean(value: bool) -> Datum {
    Datum::from(value)
}

/// A variable-length result: quantile_sketch, bytea or text.
pub fn bytes(value: &[u8]) -> Datum {
    Datum::from(varlena::rust_byte_slice_to_bytea(value).into_pg())
}

/// The result of an output function.
pub fn cstring(value: &str) -> Datum {
    // SAFETY: palloc gives `len + 1` bytes, all of which are written.
    unsafe {
        let pointer = pg_sys::palloc(value.len() + 1).cast::<u8>();
        std::ptr::copy_nonoverlapping(value.as_ptr(), pointer, value.len());
        *pointer.add(value.len()) = 0;
        Datum::from(pointer)
    }
}

/// A uuid result.
pub fn uuid(value: [u8; 16]) -> Datum {
    fixed(value)
}

/// Bytes of the system's source of randomness; `None`: it gives none.
pub fn random() -> Option<[u8; 32]> {
    let mut bytes = [0_u8; 32];
    // SAFETY: so many bytes are there to be written.
    unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) }.then_some(bytes)
}

/// A new rate.
pub fn new_rate(rate: Rate) -> Datum {
    fixed([rate.hits(), rate.total()])
}

/// A fixed-length value by reference.
fn fixed<T: Copy>(value: T) -> Datum {
    // SAFETY: palloc gives the size of T at the server's maximal alignment.
    unsafe {
        let pointer = pg_sys::palloc(size_of::<T>()).cast::<T>();
        pointer.write(value);
        Datum::from(pointer)
    }
}

/// Most numbers that an array argument may hold: with it no function here takes longer than a second.
pub const MOST_NUMBERS: usize = 1_000_000;

/// An array of double precision that may hold NULLs, as a Rust vector; an error where it is too long.
pub fn float8_array(call: &Call, position: usize) -> Result<Vec<Option<f64>>, SqlError> {
    // SAFETY: the argument is declared float8[].
    let array: Option<pgrx::Array<'_, f64>> = unsafe {
        pgrx::FromDatum::from_datum(call.argument(position).value, call.is_null(position))
    };
    let Some(array) = array else {
        return Ok(Vec::new());
    };
    if array.len() > MOST_NUMBERS {
        return Err(SqlError::new(
            pgrx::PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("an array of {} numbers is too long", array.len()),
            format!("At most {MOST_NUMBERS} numbers are taken at once."),
            "Give fewer, such as a sample of them.",
        ));
    }
    Ok(array.iter().collect())
}

/// How many elements an array has; 0 for NULL.
pub fn count_of_array(call: &Call, position: usize) -> usize {
    if call.is_null(position) {
        return 0;
    }
    // SAFETY: the argument is declared as an array; its dimensions follow its header.
    let count = unsafe {
        let array = pg_sys::pg_detoast_datum(call.argument(position).value.cast_mut_ptr())
            .cast::<pg_sys::ArrayType>();
        let dimensions = array
            .cast::<u8>()
            .add(size_of::<pg_sys::ArrayType>())
            .cast::<i32>();
        pg_sys::ArrayGetNItems((*array).ndim, dimensions)
    };
    usize::try_from(count).unwrap_or(0)
}

/// The texts of an array, as bytes; an empty list for NULL.
pub fn texts(call: &Call, position: usize) -> Vec<Option<&[u8]>> {
    if call.is_null(position) {
        return Vec::new();
    }
    let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
    // SAFETY: the argument is declared text[]; the server allocates `count` values and flags in the current context,
    // and each value that is not NULL is a text, which lives there as long as the call.
    unsafe {
        let array = pg_sys::pg_detoast_datum(call.argument(position).value.cast_mut_ptr());
        pg_sys::deconstruct_array(
            array.cast(),
            pg_sys::TEXTOID,
            -1,
            false,
            b'i' as std::ffi::c_char,
            &mut values,
            &mut nulls,
            &mut count,
        );
        (0..usize::try_from(count).unwrap_or(0))
            .map(|number| {
                if *nulls.add(number) {
                    return None;
                }
                let text = pg_sys::pg_detoast_datum_packed((*values.add(number)).cast_mut_ptr());
                Some(std::slice::from_raw_parts(
                    varlena::vardata_any(text).cast(),
                    varlena::varsize_any_exhdr(text),
                ))
            })
            .collect()
    }
}

/// An array of double precision as a result.
pub fn new_float8_array(values: Vec<Option<f64>>) -> Option<Datum> {
    pgrx::IntoDatum::into_datum(values)
}

/// A row that a BEFORE ROW trigger was given, and what it makes of it.
pub struct Row {
    trigger: *mut pg_sys::TriggerData,
    values: Vec<Datum>,
    nulls: Vec<bool>,
}

/// The type of a column, as far as triggers read columns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// text, varchar or char.
    Text,
    /// bigint.
    Int8,
    /// double precision.
    Float8,
    /// numeric.
    Numeric,
    /// jsonb.
    Json,
    /// timestamptz.
    Moment,
    /// xid8.
    TransactionId,
}

impl Kind {
    fn is_of(self, oid: pg_sys::Oid) -> bool {
        match self {
            Self::Text => [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID].contains(&oid),
            Self::Int8 => oid == pg_sys::INT8OID,
            Self::Float8 => oid == pg_sys::FLOAT8OID,
            Self::Numeric => oid == pg_sys::NUMERICOID,
            Self::Json => oid == pg_sys::JSONBOID,
            Self::Moment => oid == pg_sys::TIMESTAMPTZOID,
            Self::TransactionId => oid == pg_sys::XID8OID,
        }
    }
}

/// A column that a trigger reads.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
}

impl Call {
    /// The row of the trigger that calls; an error where nothing or another trigger calls.
    pub fn row(&self) -> Result<Row, SqlError> {
        let wrong = || {
            SqlError::new(
                pgrx::PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
                "this function works only as a BEFORE trigger for each row that is inserted or updated",
                "It checks and stamps rows of the tables of agent_metrics.",
                "SELECT agent_metrics.setup() makes the triggers that need it.",
            )
        };
        if self.caller() != Some(pg_sys::NodeTag::T_TriggerData) {
            return Err(wrong());
        }
        // SAFETY: a node with that tag is a TriggerData, which lives as long as the call; its tuple has the description
        // of its relation, and heap_deform_tuple writes as many values as that has attributes.
        unsafe {
            let trigger = (*self.info).context.cast::<pg_sys::TriggerData>();
            let event = (*trigger).tg_event;
            let operation = event & pg_sys::TRIGGER_EVENT_OPMASK;
            if event & pg_sys::TRIGGER_EVENT_ROW == 0
                || event & pg_sys::TRIGGER_EVENT_TIMINGMASK != pg_sys::TRIGGER_EVENT_BEFORE
                || (operation != pg_sys::TRIGGER_EVENT_INSERT
                    && operation != pg_sys::TRIGGER_EVENT_UPDATE)
            {
                return Err(wrong());
            }
            let mut row = Row {
                trigger,
                values: Vec::new(),
                nulls: Vec::new(),
            };
            let columns = row.description();
            let count = (*columns).natts.max(0) as usize;
            row.values = vec![Datum::null(); count];
            row.nulls = vec![true; count];
            pg_sys::heap_deform_tuple(
                row.tuple(),
                columns,
                row.values.as_mut_ptr(),
                row.nulls.as_mut_ptr(),
            );
            Ok(row)
        }
    }
}

impl Row {
    fn description(&self) -> pg_sys::TupleDesc {
        // SAFETY: a trigger's relation is open while it runs.
        unsafe { (*(*self.trigger).tg_relation).rd_att }
    }

    fn is_update(&self) -> bool {
        // SAFETY: as in `description`.
        unsafe {
            (*self.trigger).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE
        }
    }

    /// The row as it shall be.
    fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: as in `description`; of an update tg_newtuple is the new row, of an insert tg_trigtuple.
        unsafe {
            if self.is_update() {
                (*self.trigger).tg_newtuple
            } else {
                (*self.trigger).tg_trigtuple
            }
        }
    }

    fn attribute(&self, position: usize) -> &pg_sys::FormData_pg_attribute {
        // SAFETY: positions are below the number of attributes, and the relation is open while its trigger runs.
        unsafe { attribute_of(self.description(), position) }
    }

    fn name_at(&self, position: usize) -> Option<&[u8]> {
        let attribute = self.attribute(position);
        // SAFETY: a name is 64 bytes that end with a zero byte.
        let name = unsafe { std::ffi::CStr::from_ptr(attribute.attname.data.as_ptr()) };
        (!attribute.attisdropped).then_some(name.to_bytes())
    }

    /// Where a column is: `near` where it is expected, else searched for; None: the table has no such column. A
    /// partition may have its columns in another order than the table above it. A column of another type is an error:
    /// it cannot be read.
    pub fn find(&self, column: &Column, near: usize) -> Result<Option<usize>, SqlError> {
        let is_it = |position: &usize| self.name_at(*position) == Some(column.name.as_bytes());
        let count = self.values.len();
        let Some(position) = Some(near)
            .filter(|near| *near < count && is_it(near))
            .or_else(|| (0..count).find(is_it))
        else {
            return Ok(None);
        };
        if column.kind.is_of(self.attribute(position).atttypid) {
            return Ok(Some(position));
        }
        Err(SqlError::new(
            pgrx::PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "column {} is not of the type that agent_metrics made it with",
                column.name
            ),
            "Somebody changed its type, so its values cannot be checked.",
            "Change the type back: ALTER TABLE ... ALTER COLUMN ... TYPE ...; a column of your own may have any type.",
        ))
    }

    /// The names and types of all columns, for a look at whatever table this is.
    pub fn column_names(&self) -> impl Iterator<Item = (usize, &[u8])> {
        (0..self.values.len()).filter_map(|position| Some((position, self.name_at(position)?)))
    }

    /// Whether a column is of a type.
    pub fn is_of(&self, position: usize, kind: Kind) -> bool {
        kind.is_of(self.attribute(position).atttypid)
    }

    /// Whether the value is NULL.
    #[inline]
    pub fn is_null(&self, position: usize) -> bool {
        self.nulls[position]
    }

    /// A bigint or timestamptz value.
    #[inline]
    pub fn int8(&self, position: usize) -> i64 {
        self.values[position].value() as i64
    }

    /// A double precision value.
    #[inline]
    pub fn float8(&self, position: usize) -> f64 {
        f64::from_bits(self.values[position].value() as u64)
    }

    /// How many bytes a variable-length value has, whatever form it is stored in.
    #[inline]
    pub fn length(&self, position: usize) -> usize {
        // SAFETY: `find` saw a varlena type, or the caller asked `is_of` for one.
        unsafe { pg_sys::toast_raw_datum_size(self.values[position]) }
            .saturating_sub(pg_sys::VARHDRSZ)
    }

    /// The bytes of a variable-length value.
    #[inline]
    pub fn bytes(&self, position: usize) -> &[u8] {
        // SAFETY: as in `length`; a copy lives in the context of the row.
        unsafe { varlena_bytes(self.values[position]) }
    }

    /// A numeric value as the nearest double.
    pub fn numeric(&self, position: usize) -> f64 {
        numeric_float8(self.values[position])
    }

    /// The row with its stamp: that of an insert is this transaction; an update keeps what the row had when `keep` is
    /// given, else is stamped as well. What the row brings itself is never believed.
    pub fn stamped(&self, stamp: Option<usize>, keep: bool) -> Datum {
        let tuple = self.tuple();
        let Some(position) = stamp else {
            return Datum::from(tuple);
        };
        // SAFETY: the column is of type xid8, eight bytes by value; the server forms a new tuple of
        // the same description.
        unsafe {
            let columns = self.description();
            let mut is_null = false;
            let mut value = if keep && self.is_update() {
                pg_sys::heap_getattr(
                    (*self.trigger).tg_trigtuple,
                    position as std::ffi::c_int + 1,
                    columns,
                    &mut is_null,
                )
            } else {
                Datum::from(pg_sys::GetTopFullTransactionId().value as usize)
            };
            if !self.nulls[position] && self.values[position].value() == value.value() && !is_null {
                return Datum::from(tuple);
            }
            let mut number = position as std::ffi::c_int + 1;
            Datum::from(pg_sys::heap_modify_tuple_by_cols(
                tuple,
                columns,
                1,
                &mut number,
                &mut value,
                &mut is_null,
            ))
        }
    }
}

/// A place for what a function finds once a statement.
pub fn once<T: Copy>(
    call: &Call,
    find: impl FnOnce() -> Result<T, SqlError>,
) -> Result<&T, SqlError> {
    // SAFETY: as in `RowType::cached`: `fn_extra` is ours and lives as long as `fn_mcxt`; a function
    // keeps one type in it.
    unsafe {
        let function = &mut *(*call.info).flinfo;
        if function.fn_extra.is_null() {
            let (_, found) = place(function.fn_mcxt, find()?);
            function.fn_extra = std::ptr::from_mut(found).cast();
        }
        Ok(&*function.fn_extra.cast::<T>())
    }
}

/// An array of text that may hold NULLs, as a Rust vector.
pub fn names(call: &Call, position: usize) -> Vec<Option<String>> {
    // SAFETY: the argument is declared text[].
    let array: Option<Vec<Option<String>>> = unsafe {
        pgrx::FromDatum::from_datum(call.argument(position).value, call.is_null(position))
    };
    array.unwrap_or_default()
}

/// Columns of a row by their names, each as its type's output function shows it; NULL also where the row
/// has no such column.
pub fn row_texts(call: &Call, position: usize, names: &[Option<String>]) -> Option<Datum> {
    // SAFETY: the argument is declared record: a composite value whose header names its type. SPI_fnumber and
    // SPI_getvalue read a tuple of that type and need no connection; what they return ends with a zero byte. The type's
    // description is given back when `kind` goes.
    let texts: Vec<Option<Datum>> = unsafe {
        let row: pg_sys::HeapTupleHeader =
            pg_sys::pg_detoast_datum(call.argument(position).value.cast_mut_ptr()).cast();
        let kind = pgrx::PgTupleDesc::from_pg(pg_sys::lookup_rowtype_tupdesc(
            pgrx::heap_tuple_header_get_type_id(row),
            pgrx::heap_tuple_header_get_typmod(row),
        ));
        let mut tuple = pg_sys::HeapTupleData {
            t_len: u32::try_from(pgrx::heap_tuple_header_get_datum_length(row)).unwrap_or(u32::MAX),
            t_data: row,
            ..Default::default()
        };
        let field = |name: &Option<String>| {
            let name = std::ffi::CString::new(name.as_deref()?).ok()?;
            let number = pg_sys::SPI_fnumber(kind.as_ptr(), name.as_ptr());
            if number <= 0 {
                return None;
            }
            let text = pg_sys::SPI_getvalue(&mut tuple, kind.as_ptr(), number);
            (!text.is_null()).then(|| bytes(std::ffi::CStr::from_ptr(text).to_bytes()))
        };
        names.iter().map(field).collect()
    };
    new_texts(texts)
}

/// An array of texts that may be NULL.
fn new_texts(mut texts: Vec<Option<Datum>>) -> Option<Datum> {
    let mut nulls: Vec<bool> = texts.iter().map(Option::is_none).collect();
    let mut values: Vec<Datum> = texts
        .drain(..)
        .map(|text| text.unwrap_or_else(Datum::null))
        .collect();
    let mut length = i32::try_from(values.len()).ok()?;
    let mut first = 1;
    // SAFETY: as many values as nulls, one dimension of that length; each value that is not NULL is a text.
    Some(Datum::from(unsafe {
        pg_sys::construct_md_array(
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
            1,
            &mut length,
            &mut first,
            pg_sys::TEXTOID,
            -1,
            false,
            b'i' as std::ffi::c_char,
        )
    }))
}

/// A relation that is locked against everything that changes what reading it does, but for new indexes and statistics.
pub struct Relation {
    oid: pg_sys::Oid,
    kind: u8,
    /// Schema and name, quoted.
    pub name: String,
}

impl Relation {
    /// Locks a relation as a reader does, to the end of the transaction; `None` when there is none of this oid. With
    /// `is_still`, nobody makes an index or statistics either; its rows may be written. Waits as lock_timeout says.
    pub fn lock(oid: u32, is_still: bool) -> Option<Self> {
        let oid = pg_sys::Oid::from(oid);
        let mode = if is_still {
            pg_sys::ShareUpdateExclusiveLock
        } else {
            pg_sys::AccessShareLock
        };
        // SAFETY: a lock may be taken on any oid; the catalogue is read after it, and a relation that went is refused.
        // A tuple of the catalogue is valid until it is released; its fixed part has the layout of FormData_pg_class.
        unsafe {
            pg_sys::LockRelationOid(oid, mode as pg_sys::LOCKMODE);
            let id = Datum::from(oid);
            let tuple = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, id);
            if tuple.is_null() {
                return None;
            }
            let header = (*tuple).t_data;
            let form = header
                .byte_add((*header).t_hoff as usize)
                .cast::<pg_sys::FormData_pg_class>();
            let kind = (*form).relkind as u8;
            let schema = pg_sys::get_namespace_name((*form).relnamespace);
            let name = quoted(pg_sys::quote_qualified_identifier(
                schema,
                (*form).relname.data.as_ptr(),
            ));
            pg_sys::ReleaseSysCache(tuple);
            Some(Self { oid, kind, name })
        }
    }

    /// Whether its rows are stored under it or its partitions.
    pub fn is_table(&self) -> bool {
        matches!(self.kind, b'r' | b'p')
    }

    /// A column by its name, quoted: `None` when there is none. An error when the caller may not read it.
    pub fn column(&self, name: &str) -> Result<Option<String>, SqlError> {
        let Ok(name) = std::ffi::CString::new(name) else {
            return Ok(None);
        };
        // SAFETY: both look into the catalogue; the name ends with a zero byte. An error that is
        // reported does not return.
        unsafe {
            let number = pg_sys::get_attnum(self.oid, name.as_ptr());
            if number <= 0 {
                return Ok(None);
            }
            let role = pg_sys::GetUserId();
            let mode = pg_sys::ACL_SELECT as pg_sys::AclMode;
            let ok = pg_sys::AclResult::ACLCHECK_OK;
            if pg_sys::pg_class_aclcheck(self.oid, role, mode) != ok
                && pg_sys::pg_attribute_aclcheck(self.oid, number, role, mode) != ok
            {
                return Err(self.denied());
            }
            Ok(Some(quoted(pg_sys::quote_identifier(name.as_ptr()))))
        }
    }

    fn denied(&self) -> SqlError {
        SqlError::new(
            pgrx::PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("permission denied for table {}", self.name),
            "Whoever follows a table reads it with his own rights.",
            "Let its owner grant SELECT on it, or on the columns that are followed, and USAGE on its schema.",
        )
    }

    /// Whether the caller may read anything of a relation, in a schema that he may use: asked before it is locked.
    pub fn may_be_read(oid: u32) -> bool {
        let asked = |function, oid: pg_sys::Oid, right: &[u8]| {
            // SAFETY: both take an oid and a text and return a boolean, or NULL for what is not there.
            unsafe {
                pgrx::direct_function_call_as_datum(
                    function,
                    &[Some(Datum::from(oid)), Some(bytes(right))],
                )
            }
            .is_some_and(|answer| answer.value() & 1 == 1)
        };
        let oid = pg_sys::Oid::from(oid);
        // SAFETY: looks into the catalogue; of what is not there it is InvalidOid.
        let schema = unsafe { pg_sys::get_rel_namespace(oid) };
        schema != pg_sys::InvalidOid
            && asked(pg_sys::has_schema_privilege_id, schema, b"USAGE")
            && asked(pg_sys::has_any_column_privilege_id, oid, b"SELECT")
    }

    /// Whether a policy hides rows from the caller.
    pub fn hides_rows(&self) -> bool {
        // SAFETY: looks into the catalogue and, told so, raises nothing.
        let found = unsafe { pg_sys::check_enable_rls(self.oid, pg_sys::InvalidOid, true) };
        found == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
    }
}

/// Whether the caller follows attached tables: the owner of our tables, and whom he gave level admin.
pub fn is_follower() -> bool {
    // SAFETY: names end with zero bytes; what is not found has oid 0, on which nobody has a right: it is not asked.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"agent_metrics_internal".as_ptr(), true);
        let table = pg_sys::get_relname_relid(c"attached_tables".as_ptr(), schema);
        table != pg_sys::InvalidOid
            && pg_sys::pg_class_aclcheck(
                table,
                pg_sys::GetUserId(),
                pg_sys::ACL_UPDATE as pg_sys::AclMode,
            ) == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// A string that the server made.
fn quoted(text: *const std::ffi::c_char) -> String {
    // SAFETY: it ends with a zero byte.
    unsafe { std::ffi::CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// A text as a literal of SQL, by the server's own rules: right whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> Option<String> {
    let text = std::ffi::CString::new(text).ok()?;
    // SAFETY: it ends with a zero byte.
    Some(quoted(unsafe { pg_sys::quote_literal_cstr(text.as_ptr()) }))
}

/// Plans and opens a query with the caller's rights, and returns the cursor's name.
pub fn open_cursor(query: &str) -> String {
    pgrx::Spi::connect_mut(|client| client.open_cursor_mut(query, &[]).detach_into_name())
}

/// From where on a table is read: of rows whose column has this value or a greater one.
pub struct Since {
    /// The column.
    pub column: String,
    /// The value, as its type's output function shows it.
    pub value: String,
}

/// A [`Since`] for one table.
struct Bound {
    number: i32,
    /// The operator >= of the type.
    at_least: pg_sys::Oid,
    value: Datum,
    is_wide: bool,
}

impl Bound {
    /// `None` for a column that is not there, or of a type that is not counted up.
    unsafe fn of(columns: pg_sys::TupleDesc, since: &Since) -> Option<Self> {
        let name = std::ffi::CString::new(since.column.as_str()).ok()?;
        let value = std::ffi::CString::new(since.value.as_str()).ok()?;
        // SAFETY: both names end with zero bytes; the input function of a type of the server's takes any text, and
        // reports what is no value of it.
        unsafe {
            let number = pg_sys::SPI_fnumber(columns, name.as_ptr());
            if number <= 0 {
                return None;
            }
            let kind = pg_sys::SPI_gettypeid(columns, number);
            // int4ge, int8ge, date_ge, timestamp_ge, timestamptz_ge
            let (at_least, is_wide) = match kind {
                pg_sys::INT4OID => (150, false),
                pg_sys::INT8OID => (472, true),
                pg_sys::DATEOID => (1090, false),
                pg_sys::TIMESTAMPOID => (2056, true),
                pg_sys::TIMESTAMPTZOID => (1156, true),
                _ => return None,
            };
            let mut input = pg_sys::InvalidOid;
            let mut parameter = pg_sys::InvalidOid;
            pg_sys::getTypeInputInfo(kind, &mut input, &mut parameter);
            let value =
                pg_sys::OidInputFunctionCall(input, value.as_ptr().cast_mut(), parameter, -1);
            Some(Self {
                number,
                at_least: pg_sys::Oid::from(at_least),
                value,
                is_wide,
            })
        }
    }

    /// Whether a row is read.
    unsafe fn holds(&self, tuple: pg_sys::HeapTuple, columns: pg_sys::TupleDesc) -> bool {
        let mut is_null = false;
        // SAFETY: the tuple is of this table, the column of the type that was looked at.
        let found = unsafe { pg_sys::SPI_getbinval(tuple, columns, self.number, &mut is_null) };
        let number = |datum: Datum| {
            if self.is_wide {
                datum.value() as i64
            } else {
                i64::from(datum.value() as i32)
            }
        };
        !is_null && number(found) >= number(self.value)
    }

    /// An index that is in the order of the column, of PostgreSQL's own making: one with a predicate, of another's
    /// operators, or younger than what is read is none.
    unsafe fn index(&self, table: pg_sys::Relation) -> Option<pg_sys::Relation> {
        const BTREE: u32 = 403; // BTREE_AM_OID
        const OWN: u32 = 16384;
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // SAFETY: the list is of oids; an index of a table that is locked stays, and is closed again unless it is
        // returned. What is read of it is there for every index.
        unsafe {
            let list = pg_sys::RelationGetIndexList(table);
            let length = if list.is_null() { 0 } else { (*list).length };
            for place in 0..usize::try_from(length).unwrap_or(0) {
                let index = pg_sys::index_open((*(*list).elements.add(place)).oid_value, lock);
                let form = (*index).rd_index;
                let is_fit = (*(*index).rd_rel).relam == pg_sys::Oid::from(BTREE)
                    && (*form).indisvalid
                    && !(*form).indcheckxmin
                    && i32::from(*(*form).indkey.values.as_ptr()) == self.number
                    && (*(*index).rd_opfamily).to_u32() < OWN
                    && pg_sys::heap_attisnull(
                        (*index).rd_indextuple,
                        pg_sys::Anum_pg_index_indpred as i32,
                        std::ptr::null_mut(),
                    );
                if is_fit {
                    return Some(index);
                }
                pg_sys::index_close(index, lock);
            }
        }
        None
    }
}

/// Puts the rows of tables into the result of a function that returns a set of arrays, each the columns of these names
/// as their types' output functions show them; all, or from some value of a column on, which an index then finds.
/// Nothing is planned, so nothing of the tables is called: no expression of an index or of statistics, no policy, no
/// rule.
pub fn put_rows(
    call: &Call,
    tables: &[u32],
    names: &[Option<String>],
    since: Option<&Since>,
) -> Result<(), SqlError> {
    const HEAP: u32 = 2; // HEAP_TABLE_AM_OID
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let odd = |what: &str, hint: &str| {
        SqlError::new(
            pgrx::PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            what,
            "It is read row by row, so that none of its owner's code is called.",
            hint,
        )
    };
    // SAFETY: a function that is called for a set has a ReturnSetInfo, which InitMaterializedSRF asks for and
    // completes. The tables are locked by table_open and closed here, or by the end of the transaction when an error
    // passes by; a tuple of a scan is valid until the next; SPI_getvalue needs no connection and returns text that ends
    // with a zero byte. What is made of a row lives in a context that is emptied after each.
    unsafe {
        pg_sys::InitMaterializedSRF(call.info, pg_sys::MAT_SRF_USE_EXPECTED_DESC);
        let result = (*call.info).resultinfo.cast::<pg_sys::ReturnSetInfo>();
        let context = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"a row of an attached table".as_ptr(),
            0,
            8 * 1024,
            8 * 1024 * 1024,
        );
        for oid in tables {
            let table = pg_sys::table_open(pg_sys::Oid::from(*oid), lock);
            if (*(*table).rd_rel).relam != pg_sys::Oid::from(HEAP) {
                return Err(odd(
                    "a table that is not stored as PostgreSQL stores tables",
                    "Attach a view over it that belongs to the owner of our tables.",
                ));
            }
            let columns = (*table).rd_att;
            let mut numbers = Vec::with_capacity(names.len());
            for name in names {
                let Some(name) = name
                    .as_deref()
                    .and_then(|name| std::ffi::CString::new(name).ok())
                else {
                    numbers.push(None);
                    continue;
                };
                let number = pg_sys::SPI_fnumber(columns, name.as_ptr());
                let kind = if number > 0 {
                    pg_sys::get_typtype(pg_sys::SPI_gettypeid(columns, number)) as u8
                } else {
                    0
                };
                if !matches!(kind, b'b' | b'e') {
                    return Err(odd(
                        "a column that is gone, or is of a type that is not read",
                        "Detach the table and attach it as it is now.",
                    ));
                }
                numbers.push(Some(number));
            }
            let bound = match since {
                Some(since) => Some(Bound::of(columns, since).ok_or_else(|| {
                    odd(
                        "the column by which it is followed is gone, or is of another type",
                        "Detach the table and attach it as it is now.",
                    )
                })?),
                None => None,
            };
            let index = bound.as_ref().and_then(|bound| bound.index(table));
            let snapshot = pg_sys::GetActiveSnapshot();
            let mut key = pg_sys::ScanKeyData::default();
            let scan = match (&bound, index) {
                (Some(bound), Some(index)) => {
                    pg_sys::ScanKeyInit(
                        &mut key,
                        bound.number as pg_sys::AttrNumber,
                        pg_sys::BTGreaterEqualStrategyNumber as pg_sys::StrategyNumber,
                        bound.at_least,
                        bound.value,
                    );
                    pg_sys::systable_beginscan_ordered(table, index, snapshot, 1, &mut key)
                }
                _ => pg_sys::systable_beginscan(
                    table,
                    pg_sys::InvalidOid,
                    false,
                    snapshot,
                    0,
                    std::ptr::null_mut(),
                ),
            };
            loop {
                pgrx::check_for_interrupts!();
                let tuple = if index.is_some() {
                    pg_sys::systable_getnext_ordered(
                        scan,
                        pg_sys::ScanDirection::ForwardScanDirection,
                    )
                } else {
                    pg_sys::systable_getnext(scan)
                };
                if tuple.is_null() {
                    break;
                }
                if index.is_none()
                    && bound
                        .as_ref()
                        .is_some_and(|bound| !bound.holds(tuple, columns))
                {
                    continue;
                }
                let before = pg_sys::MemoryContextSwitchTo(context);
                let texts = numbers
                    .iter()
                    .map(|number| {
                        let text = pg_sys::SPI_getvalue(tuple, columns, (*number)?);
                        (!text.is_null()).then(|| bytes(std::ffi::CStr::from_ptr(text).to_bytes()))
                    })
                    .collect();
                let row = new_texts(texts);
                pg_sys::MemoryContextSwitchTo(before);
                let mut is_null = row.is_none();
                let mut row = row.unwrap_or_else(Datum::null);
                pg_sys::tuplestore_putvalues(
                    (*result).setResult,
                    (*result).setDesc,
                    &mut row,
                    &mut is_null,
                );
                pg_sys::MemoryContextReset(context);
            }
            match index {
                Some(index) => {
                    pg_sys::systable_endscan_ordered(scan);
                    pg_sys::index_close(index, lock);
                }
                None => pg_sys::systable_endscan(scan),
            }
            pg_sys::table_close(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
        pg_sys::MemoryContextDelete(context);
    }
    Ok(())
}

/// A table and all that inherit from it, those that hold rows; `Err` names one that is no table of this database.
pub fn leaves(oid: u32) -> Result<Vec<u32>, SqlError> {
    let found = pgrx::Spi::connect(|client| {
        client
            .select(
                "WITH RECURSIVE tree AS (
                     SELECT $1::pg_catalog.oid AS oid
                     UNION ALL
                     SELECT i.inhrelid FROM tree t
                     JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
                 )
                 SELECT c.oid, c.relkind::pg_catalog.text
                 FROM tree t JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.oid
                 WHERE c.relkind OPERATOR(pg_catalog.<>) 'p'",
                None,
                &[pgrx::datum::DatumWithOid::from(pg_sys::Oid::from(oid))],
            )?
            .map(|row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<String>(2)?)))
            .collect::<Result<Vec<_>, pgrx::spi::SpiError>>()
    });
    let mut leaves = Vec::new();
    for (leaf, kind) in found.unwrap_or_default() {
        match (leaf, kind.as_deref()) {
            (Some(leaf), Some("r")) => leaves.push(leaf.to_u32()),
            _ => {
                return Err(SqlError::new(
                    pgrx::PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                    "a partition that is no table of this database",
                    "It is read row by row, so that none of its owner's code is called.",
                    "Attach a view over the table that belongs to the owner of our tables.",
                ));
            }
        }
    }
    Ok(leaves)
}
