/* C on libuv.
 *
 * One buffer lent to every read: reads never overlap, and nothing of it is kept. Answers go by
 * uv_try_write, which writes at once; only what the system does not take is copied and queued with
 * uv_write. UV_TCP_REUSEPORT and threads are left out: one loop is measured. libuv reads once
 * where a read was short. It polls level-triggered, and registers a descriptor at the first wait
 * after it was opened.
 *
 *   cc -O2 -o libuv libuv.c $(pkg-config --cflags --libs libuv)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char scratch[64 * 1024];

typedef struct {
    uv_write_t request;
    char bytes[];
} rest_t;

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    (void)handle, (void)suggested;
    *out = uv_buf_init(scratch, sizeof scratch);
}

static void on_close(uv_handle_t *handle) { free(handle); }

static void on_written(uv_write_t *request, int status) {
    (void)status;
    free(request);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    if (count < 0) {
        uv_close((uv_handle_t *)stream, on_close);
        return;
    }
    if (count == 0) return;
    uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)count);
    int sent = uv_try_write(stream, &answer, 1);
    if (sent < 0) sent = 0; /* the queue is not empty, the system takes none, or the end is near */
    if (sent < count) {
        rest_t *rest = malloc(sizeof *rest + (size_t)(count - sent));
        if (!rest) abort();
        memcpy(rest->bytes, buffer->base + sent, (size_t)(count - sent));
        uv_buf_t left = uv_buf_init(rest->bytes, (unsigned)(count - sent));
        if (uv_write(&rest->request, stream, &left, 1, on_written)) free(rest);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) return;
    uv_tcp_t *stream = malloc(sizeof *stream);
    if (!stream) abort();
    uv_tcp_init(listener->loop, stream);
    if (uv_accept(listener, (uv_stream_t *)stream) ||
        uv_read_start((uv_stream_t *)stream, on_alloc, on_read))
        uv_close((uv_handle_t *)stream, on_close);
}

int main(void) {
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    int length = sizeof address;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(loop, &listener);
    if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0)) return 1;
    uv_tcp_nodelay(&listener, 1); /* connections inherit it */
    if (uv_listen((uv_stream_t *)&listener, 4096, on_connection)) return 1;
    uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &length);
    printf("listening echo tcp 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return uv_run(loop, UV_RUN_DEFAULT);
}
