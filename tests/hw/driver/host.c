/* The driver without a machine, for sanitizers: host FILE.efp MUTATIONS SEED
 *
 * A machine that answers every start with "done" stands in; memory is watched for accesses beyond its end.  Then the
 * file is damaged again and again: at random with its checksum put right, or cut off.  Nothing may go wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eightfold.h"

static unsigned char *memory;
static uint32_t memory_bytes, configuration, starts;

static uint32_t read_register(void *context, uint32_t offset)
{
  (void)context;
  switch (offset) {
  case EIGHTFOLD_REG_IDENTITY:
    return EIGHTFOLD_IDENTITY_VALUE;
  case EIGHTFOLD_REG_VERSION:
    return EIGHTFOLD_VERSION_VALUE;
  case EIGHTFOLD_REG_CONFIGURATION:
    return configuration;
  case EIGHTFOLD_REG_STATUS:
    return EIGHTFOLD_STATUS_DONE;
  default:
    return 0;
  }
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
  (void)context;
  if (offset == EIGHTFOLD_REG_CONTROL && value == EIGHTFOLD_CONTROL_START)
    starts++;
}

static void check(uint32_t offset, uint32_t bytes)
{
  if (offset > memory_bytes || bytes > memory_bytes - offset) {
    fprintf(stderr, "access to %lu, %lu bytes\n", (unsigned long)offset, (unsigned long)bytes);
    abort();
  }
}

static void write_memory(void *context, uint32_t offset, const void *from, uint32_t bytes)
{
  (void)context;
  check(offset, bytes);
  memcpy(memory + offset, from, bytes);
}

static void read_memory(void *context, uint32_t offset, void *to, uint32_t bytes)
{
  (void)context;
  check(offset, bytes);
  memcpy(to, memory + offset, bytes);
}

static enum eightfold_result nothing(void *context, const struct eightfold *machine, uint32_t step)
{
  uint32_t place;
  (void)context;
  for (place = 0; place < 4; place++)
    eightfold_step_tensor(machine->program, step, place);
  return EIGHTFOLD_OK;
}

static uint32_t crc(const unsigned char *data, uint32_t bytes)
{
  uint32_t value = 0xffffffffu, at, bit;
  for (at = 0; at < bytes; at++) {
    value ^= data[at];
    for (bit = 0; bit < 8; bit++)
      value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
  }
  return ~value;
}

static enum eightfold_result use(const unsigned char *file, uint32_t bytes)
{
  struct eightfold_port port = {NULL, read_register, write_register, write_memory, read_memory, NULL, 0, 0};
  struct eightfold_program program;
  struct eightfold_tensor tensor;
  struct eightfold_step step;
  struct eightfold machine;
  enum eightfold_result result = eightfold_parse(&program, file, bytes);
  size_t letters = 0;
  uint32_t at, place;
  if (result != EIGHTFOLD_OK)
    return result;
  memcpy(&configuration, file + 24, 4);
  memory_bytes = eightfold_memory_bytes(&program);
  if (memory_bytes > 1u << 28)
    return EIGHTFOLD_MEMORY;
  port.memory_bytes = memory_bytes;
  memory = calloc(memory_bytes + 1u, 1);
  letters += strlen(eightfold_name(&program));
  for (at = 0; eightfold_tensor(&program, at, &tensor) == EIGHTFOLD_OK; at++) {
    unsigned char *value = calloc(tensor.bytes + 1u, 1);
    letters += strlen(tensor.name);
    if (eightfold_load(&machine, &port, &program) == EIGHTFOLD_OK && at < 4) {
      eightfold_write_tensor(&machine, at, value, tensor.bytes);
      eightfold_read_tensor(&machine, at, value, tensor.bytes);
    }
    free(value);
  }
  for (at = 0; eightfold_step(&program, at, &step) == EIGHTFOLD_OK; at++)
    letters += strlen(step.name);
  for (place = 0; place < 3; place++) {
    eightfold_input_tensor(&program, place);
    eightfold_output_tensor(&program, place);
  }
  result = eightfold_load(&machine, &port, &program);
  if (result == EIGHTFOLD_OK)
    result = eightfold_run(&machine, nothing, NULL);
  free(memory);
  return letters ? result : EIGHTFOLD_DAMAGED;
}

int main(int count, char **arguments)
{
  static unsigned char file[1 << 22];
  FILE *from = fopen(arguments[1], "rb");
  uint32_t bytes = (uint32_t)fread(file, 1, sizeof file, from), part, round, sound = 0;
  unsigned char *copy;
  (void)count;
  fclose(from);
  srand((unsigned)atoi(arguments[3]));
  memcpy(&part, file + 12, 4);
  if (use(file, bytes) != EIGHTFOLD_OK || starts == 0)
    return 1;
  for (round = 0; round < (uint32_t)atoi(arguments[2]); round++) {
    uint32_t length = part, changes = 1u + (uint32_t)rand() % 3u, checksum, at;
    copy = malloc(part);
    memcpy(copy, file, part);
    if (round % 8 == 0) {
      length = (uint32_t)rand() % part; /* cut off */
      copy = realloc(copy, length + 1u);
    } else {
      while (changes--) { /* mostly in header and tables */
        at = 20u + (uint32_t)rand() % (round % 2 ? 76u : part - 20u);
        copy[at] = (unsigned char)(rand() % 3 ? rand() : rand() % 2 ? 0 : 255);
      }
      checksum = crc(copy + 20, part - 20u);
      memcpy(copy + 16, &checksum, 4);
    }
    sound += use(copy, length) == EIGHTFOLD_OK;
    free(copy);
  }
  printf("%lu of %s damaged files were used all the same\n", (unsigned long)sound, arguments[2]);
  return 0;
}
