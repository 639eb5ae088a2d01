/* Eightfold: a driver for the machine.  See eightfold.h. */
#include "eightfold.h"

#include <string.h>

#define PROGRAM_VERSION 2u
#define MAGIC_BYTES 8u
#define HEADER_BYTES (MAGIC_BYTES + 22u * 4u)
#define STEP_BYTES (12u * 4u)
#define SEGMENT_BYTES (3u * 4u)
#define TENSOR_BYTES (16u * 4u)
#define CHUNK 64u
#define RESET_POLLS 100000u

/* Offsets of the header's words. */
enum header {
  VERSION = 8,
  BYTES = 12,
  CHECKSUM = 16,
  CHECKED = 20,
  MACHINE_VERSION = 20,
  CONFIGURATION = 24,
  BASE_ALIGNMENT = 28,
  MEMORY_BYTES = 32,
  NAME = 36,
  STEPS = 40,
  SEGMENTS = 48,
  TENSORS = 56,
  LINKS = 64,
  INPUTS = 72,
  OUTPUTS = 80
};

/* Offsets in the tables' records. */
enum step { KIND = 0, OPERATOR = 4, STEP_NAME = 8, FIRST_INPUT = 12, INPUT_COUNT = 16, FIRST_OUTPUT = 20,
            OUTPUT_COUNT = 24, STREAM = 28, STREAM_WORDS = 32, ROWS = 36, ROW_BYTES = 40, TABLE = 44 };
enum segment { FILE_OFFSET = 0, MEMORY_OFFSET = 4, SEGMENT_SIZE = 8 };
enum tensor { INDEX = 0, TYPE = 4, OFFSET = 8, SIZE = 12, TENSOR_NAME = 16, SCALE = 20, ZERO_POINT = 24, RANK = 28,
              SHAPE = 32 };

static uint32_t word(const unsigned char *at)
{
  return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint32_t header(const struct eightfold_program *program, uint32_t offset)
{
  return word(program->file + offset);
}

/* The record of a table, whose offset and count are neighbours in the header; NULL beyond its end. */
static const unsigned char *record(const struct eightfold_program *program, uint32_t table, uint32_t bytes, uint32_t at)
{
  return at < header(program, table + 4) ? program->file + header(program, table) + (size_t)bytes * at : NULL;
}

static uint32_t link_at(const struct eightfold_program *program, uint32_t at)
{
  return word(program->file + header(program, LINKS) + 4u * (size_t)at);
}

/* ---- The file ---- */

/* CRC-32 as in zlib, four bits at a time. */
static uint32_t crc32(const unsigned char *data, uint32_t bytes)
{
  static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                     0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                     0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
  uint32_t crc = 0xffffffffu;
  uint32_t at;
  for (at = 0; at < bytes; at++) {
    crc ^= data[at];
    crc = table[crc & 15u] ^ crc >> 4;
    crc = table[crc & 15u] ^ crc >> 4;
  }
  return ~crc;
}

static int within(uint32_t offset, uint32_t count, uint32_t size, uint32_t end)
{
  return offset <= end && (uint64_t)count * size <= end - offset;
}

static int is_text(const struct eightfold_program *program, uint32_t offset)
{
  uint32_t end = header(program, BYTES);
  while (offset < end && program->file[offset] != 0)
    offset++;
  return offset < end;
}

static int steps_are_sound(const struct eightfold_program *program)
{
  uint32_t end = header(program, BYTES), memory = header(program, MEMORY_BYTES), links = header(program, LINKS + 4);
  uint32_t at, place;
  for (at = 0; at < header(program, STEPS + 4); at++) {
    const unsigned char *step = record(program, STEPS, STEP_BYTES, at);
    uint32_t kind = word(step + KIND);
    if (!is_text(program, word(step + STEP_NAME)) || kind > EIGHTFOLD_OTHER ||
        !within(word(step + FIRST_INPUT), word(step + INPUT_COUNT), 1, links) ||
        !within(word(step + FIRST_OUTPUT), word(step + OUTPUT_COUNT), 1, links))
      return 0;
    if (kind == EIGHTFOLD_ON_MACHINE && !within(word(step + STREAM), word(step + STREAM_WORDS), 8, memory))
      return 0;
    if (kind == EIGHTFOLD_COPY || kind == EIGHTFOLD_SOFTMAX)
      for (place = 0; place < 2; place++) {
        uint32_t first = word(step + (place ? FIRST_OUTPUT : FIRST_INPUT));
        const unsigned char *tensor;
        if (word(step + (place ? OUTPUT_COUNT : INPUT_COUNT)) == 0)
          return 0;
        tensor = record(program, TENSORS, TENSOR_BYTES, link_at(program, first));
        if (tensor == NULL || word(step + ROW_BYTES) == 0 ||
            (uint64_t)word(step + ROWS) * word(step + ROW_BYTES) > word(tensor + SIZE))
          return 0;
      }
    if (kind == EIGHTFOLD_SOFTMAX && !within(word(step + TABLE), 256, 4, end))
      return 0;
  }
  return 1;
}

static int tables_are_sound(const struct eightfold_program *program)
{
  uint32_t end = header(program, BYTES), memory = header(program, MEMORY_BYTES), links = header(program, LINKS + 4);
  uint32_t at;
  if (!is_text(program, header(program, NAME)) ||
      !within(header(program, STEPS), header(program, STEPS + 4), STEP_BYTES, end) ||
      !within(header(program, SEGMENTS), header(program, SEGMENTS + 4), SEGMENT_BYTES, end) ||
      !within(header(program, TENSORS), header(program, TENSORS + 4), TENSOR_BYTES, end) ||
      !within(header(program, LINKS), links, 4, end) ||
      !within(header(program, INPUTS), header(program, INPUTS + 4), 1, links) ||
      !within(header(program, OUTPUTS), header(program, OUTPUTS + 4), 1, links))
    return 0;
  for (at = 0; at < header(program, SEGMENTS + 4); at++) {
    const unsigned char *segment = record(program, SEGMENTS, SEGMENT_BYTES, at);
    if (!within(word(segment + FILE_OFFSET), word(segment + SEGMENT_SIZE), 1, end) ||
        !within(word(segment + MEMORY_OFFSET), word(segment + SEGMENT_SIZE), 1, memory))
      return 0;
  }
  for (at = 0; at < header(program, TENSORS + 4); at++) {
    const unsigned char *tensor = record(program, TENSORS, TENSOR_BYTES, at);
    if (!within(word(tensor + OFFSET), word(tensor + SIZE), 1, memory) || word(tensor + RANK) > 8 ||
        !is_text(program, word(tensor + TENSOR_NAME)))
      return 0;
  }
  return steps_are_sound(program);
}

enum eightfold_result eightfold_parse(struct eightfold_program *program, const void *file, size_t bytes)
{
  static const unsigned char magic[MAGIC_BYTES] = {'E', 'I', 'G', 'H', 'T', 'F', 'L', 'D'};
  const unsigned char *data = file;
  uint32_t at;
  program->file = data;
  if (bytes < HEADER_BYTES)
    return EIGHTFOLD_NO_PROGRAM;
  for (at = 0; at < MAGIC_BYTES; at++)
    if (data[at] != magic[at])
      return EIGHTFOLD_NO_PROGRAM;
  if (word(data + VERSION) != PROGRAM_VERSION)
    return EIGHTFOLD_PROGRAM_VERSION;
  if (word(data + BYTES) < HEADER_BYTES || word(data + BYTES) > bytes)
    return EIGHTFOLD_DAMAGED;
  if (crc32(data + CHECKED, word(data + BYTES) - CHECKED) != word(data + CHECKSUM))
    return EIGHTFOLD_DAMAGED;
  return tables_are_sound(program) ? EIGHTFOLD_OK : EIGHTFOLD_DAMAGED;
}

const char *eightfold_name(const struct eightfold_program *program)
{
  return (const char *)program->file + header(program, NAME);
}

uint32_t eightfold_memory_bytes(const struct eightfold_program *program)
{
  return header(program, MEMORY_BYTES);
}

uint32_t eightfold_steps(const struct eightfold_program *program)
{
  return header(program, STEPS + 4);
}

uint32_t eightfold_inputs(const struct eightfold_program *program)
{
  return header(program, INPUTS + 4);
}

uint32_t eightfold_outputs(const struct eightfold_program *program)
{
  return header(program, OUTPUTS + 4);
}

uint32_t eightfold_input_tensor(const struct eightfold_program *program, uint32_t input)
{
  return input < eightfold_inputs(program) ? link_at(program, header(program, INPUTS) + input) : EIGHTFOLD_NO_TENSOR;
}

uint32_t eightfold_output_tensor(const struct eightfold_program *program, uint32_t output)
{
  return output < eightfold_outputs(program) ? link_at(program, header(program, OUTPUTS) + output)
                                             : EIGHTFOLD_NO_TENSOR;
}

enum eightfold_result eightfold_tensor(const struct eightfold_program *program, uint32_t tensor,
                                       struct eightfold_tensor *description)
{
  const unsigned char *from = record(program, TENSORS, TENSOR_BYTES, tensor);
  uint32_t scale, axis;
  if (from == NULL)
    return EIGHTFOLD_ARGUMENT;
  description->index = word(from + INDEX);
  description->type = word(from + TYPE);
  description->offset = word(from + OFFSET);
  description->bytes = word(from + SIZE);
  description->name = (const char *)program->file + word(from + TENSOR_NAME);
  scale = word(from + SCALE);
  memcpy(&description->scale, &scale, sizeof description->scale);
  description->zero_point = (int32_t)word(from + ZERO_POINT);
  description->rank = word(from + RANK);
  for (axis = 0; axis < 8; axis++)
    description->shape[axis] = (int32_t)word(from + SHAPE + 4 * axis);
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_step(const struct eightfold_program *program, uint32_t step,
                                     struct eightfold_step *description)
{
  const unsigned char *from = record(program, STEPS, STEP_BYTES, step);
  if (from == NULL)
    return EIGHTFOLD_ARGUMENT;
  description->kind = word(from + KIND);
  description->operator_index = word(from + OPERATOR);
  description->name = (const char *)program->file + word(from + STEP_NAME);
  description->inputs = word(from + INPUT_COUNT);
  description->outputs = word(from + OUTPUT_COUNT);
  return EIGHTFOLD_OK;
}

uint32_t eightfold_step_tensor(const struct eightfold_program *program, uint32_t step, uint32_t place)
{
  const unsigned char *from = record(program, STEPS, STEP_BYTES, step);
  if (from == NULL)
    return EIGHTFOLD_NO_TENSOR;
  if (place < word(from + INPUT_COUNT))
    return link_at(program, word(from + FIRST_INPUT) + place);
  place -= word(from + INPUT_COUNT);
  return place < word(from + OUTPUT_COUNT) ? link_at(program, word(from + FIRST_OUTPUT) + place) : EIGHTFOLD_NO_TENSOR;
}

/* ---- The machine ---- */

static uint32_t mapped_read_register(void *context, uint32_t offset)
{
  const struct eightfold_mapped *mapped = context;
  return mapped->registers[offset / 4];
}

static void mapped_write_register(void *context, uint32_t offset, uint32_t value)
{
  const struct eightfold_mapped *mapped = context;
  mapped->registers[offset / 4] = value;
}

static void mapped_write_memory(void *context, uint32_t offset, const void *from, uint32_t bytes)
{
  const struct eightfold_mapped *mapped = context;
  memcpy(mapped->memory + offset, from, bytes);
}

static void mapped_read_memory(void *context, uint32_t offset, void *to, uint32_t bytes)
{
  const struct eightfold_mapped *mapped = context;
  memcpy(to, mapped->memory + offset, bytes);
}

void eightfold_mapped_port(struct eightfold_port *port, struct eightfold_mapped *mapped, uint32_t base_address,
                           uint32_t memory_bytes)
{
  port->context = mapped;
  port->read_register = mapped_read_register;
  port->write_register = mapped_write_register;
  port->write_memory = mapped_write_memory;
  port->read_memory = mapped_read_memory;
  port->wait = NULL;
  port->base_address = base_address;
  port->memory_bytes = memory_bytes;
}

static uint32_t get(const struct eightfold *machine, uint32_t offset)
{
  return machine->port->read_register(machine->port->context, offset);
}

static void set(const struct eightfold *machine, uint32_t offset, uint32_t value)
{
  machine->port->write_register(machine->port->context, offset, value);
}

enum eightfold_result eightfold_load(struct eightfold *machine, const struct eightfold_port *port,
                                     const struct eightfold_program *program)
{
  enum eightfold_result result;
  uint32_t version, at;
  machine->port = port;
  machine->program = program;
  if (get(machine, EIGHTFOLD_REG_IDENTITY) != EIGHTFOLD_IDENTITY_VALUE)
    return EIGHTFOLD_NO_MACHINE;
  /* A machine may know more than the program needs: a greater minor version. */
  version = get(machine, EIGHTFOLD_REG_VERSION);
  if (version >> 16 != header(program, MACHINE_VERSION) >> 16 || version < header(program, MACHINE_VERSION))
    return EIGHTFOLD_MACHINE_VERSION;
  if (get(machine, EIGHTFOLD_REG_CONFIGURATION) != header(program, CONFIGURATION))
    return EIGHTFOLD_CONFIGURATION;
  if (port->memory_bytes < header(program, MEMORY_BYTES) || header(program, BASE_ALIGNMENT) == 0 ||
      port->base_address % header(program, BASE_ALIGNMENT) != 0)
    return EIGHTFOLD_MEMORY;
  result = eightfold_reset(machine);
  if (result != EIGHTFOLD_OK)
    return result;
  set(machine, EIGHTFOLD_REG_BASE_ADDRESS, port->base_address);
  for (at = 0; at < header(program, SEGMENTS + 4); at++) {
    const unsigned char *segment = record(program, SEGMENTS, SEGMENT_BYTES, at);
    port->write_memory(port->context, word(segment + MEMORY_OFFSET), program->file + word(segment + FILE_OFFSET),
                       word(segment + SEGMENT_SIZE));
  }
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_write_tensor(const struct eightfold *machine, uint32_t tensor, const void *from,
                                             uint32_t bytes)
{
  const struct eightfold_port *port = machine->port;
  const unsigned char *record_at = record(machine->program, TENSORS, TENSOR_BYTES, tensor), *source = from;
  unsigned char chunk[CHUNK];
  uint32_t offset, done, count, at;
  if (record_at == NULL || word(record_at + SIZE) != bytes)
    return EIGHTFOLD_ARGUMENT;
  offset = word(record_at + OFFSET);
  if (word(record_at + TYPE) != EIGHTFOLD_UINT8) {
    port->write_memory(port->context, offset, from, bytes);
    return EIGHTFOLD_OK;
  }
  for (done = 0; done < bytes; done += count) {
    count = bytes - done < CHUNK ? bytes - done : CHUNK;
    for (at = 0; at < count; at++)
      chunk[at] = source[done + at] ^ 0x80u;
    port->write_memory(port->context, offset + done, chunk, count);
  }
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_read_tensor(const struct eightfold *machine, uint32_t tensor, void *to, uint32_t bytes)
{
  const unsigned char *record_at = record(machine->program, TENSORS, TENSOR_BYTES, tensor);
  unsigned char *destination = to;
  uint32_t at;
  if (record_at == NULL || word(record_at + SIZE) != bytes)
    return EIGHTFOLD_ARGUMENT;
  machine->port->read_memory(machine->port->context, word(record_at + OFFSET), to, bytes);
  if (word(record_at + TYPE) == EIGHTFOLD_UINT8)
    for (at = 0; at < bytes; at++)
      destination[at] ^= 0x80u;
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_write_input(const struct eightfold *machine, uint32_t input, const void *from,
                                            uint32_t bytes)
{
  return eightfold_write_tensor(machine, eightfold_input_tensor(machine->program, input), from, bytes);
}

enum eightfold_result eightfold_read_output(const struct eightfold *machine, uint32_t output, void *to, uint32_t bytes)
{
  return eightfold_read_tensor(machine, eightfold_output_tensor(machine->program, output), to, bytes);
}

enum eightfold_result eightfold_reset(const struct eightfold *machine)
{
  uint32_t polls;
  set(machine, EIGHTFOLD_REG_CONTROL, EIGHTFOLD_CONTROL_RESET);
  for (polls = 0; polls < RESET_POLLS; polls++)
    if (!(get(machine, EIGHTFOLD_REG_STATUS) & EIGHTFOLD_STATUS_BUSY))
      return EIGHTFOLD_OK;
  return EIGHTFOLD_TIMEOUT;
}

enum eightfold_result eightfold_start(const struct eightfold *machine, uint32_t step)
{
  const unsigned char *from = record(machine->program, STEPS, STEP_BYTES, step);
  if (from == NULL || word(from + KIND) != EIGHTFOLD_ON_MACHINE)
    return EIGHTFOLD_ARGUMENT;
  if (get(machine, EIGHTFOLD_REG_STATUS) & EIGHTFOLD_STATUS_BUSY)
    return EIGHTFOLD_RUNNING;
  set(machine, EIGHTFOLD_REG_PROGRAM_ADDRESS, machine->port->base_address + word(from + STREAM));
  set(machine, EIGHTFOLD_REG_PROGRAM_WORDS, word(from + STREAM_WORDS));
  set(machine, EIGHTFOLD_REG_INTERRUPT_STATUS, EIGHTFOLD_INTERRUPT_STATUS_DONE | EIGHTFOLD_INTERRUPT_STATUS_ERROR);
  set(machine, EIGHTFOLD_REG_INTERRUPT_ENABLE,
      machine->port->wait ? EIGHTFOLD_INTERRUPT_ENABLE_DONE | EIGHTFOLD_INTERRUPT_ENABLE_ERROR : 0);
  set(machine, EIGHTFOLD_REG_CONTROL, EIGHTFOLD_CONTROL_START);
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_poll(const struct eightfold *machine)
{
  uint32_t status = get(machine, EIGHTFOLD_REG_STATUS);
  if (status & EIGHTFOLD_STATUS_BUSY)
    return EIGHTFOLD_RUNNING;
  set(machine, EIGHTFOLD_REG_INTERRUPT_STATUS, EIGHTFOLD_INTERRUPT_STATUS_DONE | EIGHTFOLD_INTERRUPT_STATUS_ERROR);
  return status & EIGHTFOLD_STATUS_DONE ? EIGHTFOLD_OK : EIGHTFOLD_STOPPED;
}

enum eightfold_result eightfold_wait(const struct eightfold *machine, uint32_t polls)
{
  const struct eightfold_port *port = machine->port;
  uint32_t poll = 0;
  for (;;) {
    enum eightfold_result result = eightfold_poll(machine);
    if (result != EIGHTFOLD_RUNNING)
      return result;
    if ((polls != 0 && ++poll >= polls) || (port->wait != NULL && port->wait(port->context))) {
      eightfold_reset(machine);
      return EIGHTFOLD_TIMEOUT;
    }
  }
}

uint32_t eightfold_error(const struct eightfold *machine, uint32_t *command)
{
  if (command != NULL)
    *command = get(machine, EIGHTFOLD_REG_ERROR_COMMAND) & EIGHTFOLD_ERROR_COMMAND_INDEX;
  return get(machine, EIGHTFOLD_REG_ERROR) & EIGHTFOLD_ERROR_CODE;
}

uint32_t eightfold_counter(const struct eightfold *machine, uint32_t counter_register)
{
  return get(machine, counter_register);
}

/* ---- The host's steps ---- */

static void copy(const struct eightfold *machine, uint32_t from, uint32_t to, uint32_t bytes)
{
  const struct eightfold_port *port = machine->port;
  unsigned char chunk[CHUNK];
  uint32_t done, count;
  for (done = 0; done < bytes; done += count) {
    count = bytes - done < CHUNK ? bytes - done : CHUNK;
    port->read_memory(port->context, from + done, chunk, count);
    port->write_memory(port->context, to + done, chunk, count);
  }
}

static int64_t shift_right(int64_t x, int by)
{
  return x >= 0 ? x >> by : ~(~x >> by); /* C leaves the shift of a negative number open */
}

/* The rounding product of two numbers of which at least one has 31 fractional bits. */
static int64_t product(int64_t a, int64_t b)
{
  return shift_right(a * b + ((int64_t)1 << 30), 31);
}

static int64_t rounded_shift(int64_t x, int by)
{
  return (x + ((int64_t)1 << by >> 1)) >> by;
}

/* 1 / (1 + x), all with 31 fractional bits, by three steps of Newton's method from 48/17 - 32/17 d. */
static int64_t one_over_one_plus(int64_t x)
{
  int64_t half = (x + ((int64_t)1 << 31)) >> 1;
  int64_t estimate = 1515870810 + product(half, -1010580540);
  int step;
  for (step = 0; step < 3; step++)
    estimate += 4 * product(estimate, ((int64_t)1 << 29) - product(half, estimate));
  return estimate >= (int64_t)1 << 30 ? INT32_MAX : 2 * estimate;
}

static int64_t exponential(const unsigned char *table, int difference)
{
  return word(table + 4 * difference);
}

static int as_signed(unsigned char byte)
{
  return byte < 128 ? byte : byte - 256;
}

/* Softmax over one row of int8, as TensorFlow Lite Micro computes it.  The table has the exponential of each difference
 * to the maximum. */
static void softmax(const struct eightfold *machine, const unsigned char *table, uint32_t from, uint32_t to,
                    uint32_t bytes)
{
  const struct eightfold_port *port = machine->port;
  unsigned char chunk[CHUNK];
  int64_t sum = 0, inverse = 0;
  int greatest = -128, headroom = 0, pass;
  uint32_t done, count, at;
  for (pass = 0; pass < 3; pass++) {
    for (done = 0; done < bytes; done += count) {
      count = bytes - done < CHUNK ? bytes - done : CHUNK;
      port->read_memory(port->context, from + done, chunk, count);
      for (at = 0; at < count; at++) {
        int value = as_signed(chunk[at]);
        if (pass == 0) {
          greatest = value > greatest ? value : greatest;
        } else if (pass == 1) {
          sum += rounded_shift(exponential(table, greatest - value), 12);
        } else {
          int64_t share = rounded_shift(product(inverse, exponential(table, greatest - value)), 35 - headroom);
          chunk[at] = (unsigned char)((share > 255 ? 255 : share) ^ 0x80);
        }
      }
      if (pass == 2)
        port->write_memory(port->context, to + done, chunk, count);
    }
    if (pass == 1) {
      while (!(sum << headroom & (int64_t)1 << 31))
        headroom++;
      inverse = one_over_one_plus((sum << headroom) - ((int64_t)1 << 31));
    }
  }
}

enum eightfold_result eightfold_run_step(const struct eightfold *machine, uint32_t step)
{
  const struct eightfold_program *program = machine->program;
  const unsigned char *from = record(program, STEPS, STEP_BYTES, step);
  uint32_t source, destination, rows, row_bytes, row;
  if (from == NULL)
    return EIGHTFOLD_ARGUMENT;
  if (word(from + KIND) == EIGHTFOLD_ON_MACHINE) {
    enum eightfold_result result = eightfold_start(machine, step);
    return result == EIGHTFOLD_OK ? eightfold_wait(machine, 0) : result;
  }
  if (word(from + KIND) == EIGHTFOLD_OTHER)
    return EIGHTFOLD_NEEDS_HOST;
  rows = word(from + ROWS);
  row_bytes = word(from + ROW_BYTES);
  source = word(record(program, TENSORS, TENSOR_BYTES, eightfold_step_tensor(program, step, 0)) + OFFSET);
  destination = word(record(program, TENSORS, TENSOR_BYTES, link_at(program, word(from + FIRST_OUTPUT))) + OFFSET);
  for (row = 0; row < rows; row++) {
    if (word(from + KIND) == EIGHTFOLD_COPY)
      copy(machine, source, destination, row_bytes);
    else
      softmax(machine, program->file + word(from + TABLE), source, destination, row_bytes);
    source += row_bytes;
    destination += row_bytes;
  }
  return EIGHTFOLD_OK;
}

enum eightfold_result eightfold_run(const struct eightfold *machine, eightfold_host host, void *context)
{
  uint32_t step;
  for (step = 0; step < eightfold_steps(machine->program); step++) {
    enum eightfold_result result = eightfold_run_step(machine, step);
    if (result == EIGHTFOLD_NEEDS_HOST && host != NULL)
      result = host(context, machine, step);
    if (result != EIGHTFOLD_OK)
      return result;
  }
  return EIGHTFOLD_OK;
}

/* ---- Texts ---- */

const char *eightfold_message(enum eightfold_result result)
{
  switch (result) {
  case EIGHTFOLD_OK:
    return "all is well";
  case EIGHTFOLD_RUNNING:
    return "the machine is busy";
  case EIGHTFOLD_NO_PROGRAM:
    return "not an Eightfold program";
  case EIGHTFOLD_PROGRAM_VERSION:
    return "a program file of another version of the format: compile anew";
  case EIGHTFOLD_DAMAGED:
    return "a damaged program file: its checksum or an offset is wrong";
  case EIGHTFOLD_NO_MACHINE:
    return "no Eightfold machine answers at this address";
  case EIGHTFOLD_MACHINE_VERSION:
    return "the program is for another version of the machine";
  case EIGHTFOLD_CONFIGURATION:
    return "the program was compiled for a machine of another configuration";
  case EIGHTFOLD_MEMORY:
    return "the memory is too small for the program, or its base address not aligned to the bus";
  case EIGHTFOLD_ARGUMENT:
    return "no such step or tensor, or not as many bytes as it has";
  case EIGHTFOLD_STOPPED:
    return "the machine stopped with an error";
  case EIGHTFOLD_TIMEOUT:
    return "the machine did not finish in time";
  case EIGHTFOLD_NEEDS_HOST:
    return "an operator that neither machine nor driver compute";
  }
  return "an unknown result";
}

const char *eightfold_error_message(uint32_t error)
{
  static const char *const messages[] = EIGHTFOLD_ERROR_MESSAGES;
  return error < sizeof messages / sizeof messages[0] ? messages[error] : "an unknown error";
}
