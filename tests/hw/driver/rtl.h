/* The machine's RTL, as the driver reaches it. */
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
void rtl_open(uint32_t base_address, uint32_t bytes);
void rtl_close(void);
/* Memory from `first` to before `end` answers with an error. */
void rtl_fail(uint32_t first, uint32_t end);
uint32_t rtl_read_register(void *context, uint32_t offset);
void rtl_write_register(void *context, uint32_t offset, uint32_t value);
void rtl_write_memory(void *context, uint32_t offset, const void *from, uint32_t bytes);
void rtl_read_memory(void *context, uint32_t offset, void *to, uint32_t bytes);
int rtl_wait(void *context);
#ifdef __cplusplus
}
#endif
