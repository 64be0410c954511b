/* Triangles spread over pixels, in C: what raster.py does in PyTorch, for one thread of a CPU.

   Screen places are rows of three floats: column, row, inverse depth. Triangles are rows of three int64 into them.
   Frames lie one after the other: places by `vertices`, pixels by height * width. Results equal PyTorch's but for
   the last bits of floats, where a pixel lies on the edge of two triangles. */
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    float x0, y0, a1, b1, a2, b2, z0, rise1, rise2;
    int left, right, top, bottom;
} Setup;

static inline float min3(float a, float b, float c) { return fminf(a, fminf(b, c)); }
static inline float max3(float a, float b, float c) { return fmaxf(a, fmaxf(b, c)); }

/* 0 where the triangle covers nothing or is culled. */
static int set_up(const float *screen, const int64_t *corner, int height, int width, int cull, Setup *s) {
    const float *p = screen + 3 * corner[0], *q = screen + 3 * corner[1], *r = screen + 3 * corner[2];
    float dx1 = q[0] - p[0], dy1 = q[1] - p[1], dx2 = r[0] - p[0], dy2 = r[1] - p[1];
    float area = dx1 * dy2 - dx2 * dy1;
    if (area == 0.0f || (cull && area > 0.0f)) return 0;
    float left = ceilf(min3(p[0], q[0], r[0]) - 0.5f), right = floorf(max3(p[0], q[0], r[0]) - 0.5f);
    float top = ceilf(min3(p[1], q[1], r[1]) - 0.5f), bottom = floorf(max3(p[1], q[1], r[1]) - 0.5f);
    left = fmaxf(left, 0.0f), right = fminf(right, width - 1.0f);
    top = fmaxf(top, 0.0f), bottom = fminf(bottom, height - 1.0f);
    if (!(left <= right && top <= bottom)) return 0;
    float over = 1.0f / area;
    s->x0 = p[0], s->y0 = p[1];
    s->a1 = dy2 * over, s->b1 = -dx2 * over, s->a2 = -dy1 * over, s->b2 = dx1 * over;
    s->z0 = p[2], s->rise1 = q[2] - p[2], s->rise2 = r[2] - p[2];
    s->left = (int)left, s->right = (int)right, s->top = (int)top, s->bottom = (int)bottom;
    return 1;
}

/* keys: inverse depth's bits above, number of the triangle below; the largest stays. */
void heads_race(const float *screen, int64_t frames, int64_t vertices, const int64_t *triangles, int64_t count,
                int height, int width, int cull, int64_t first, int64_t total, int64_t *keys) {
    for (int64_t n = 0; n < frames; n++) {
        const float *places = screen + 3 * vertices * n;
        int64_t *plane = keys + n * height * width;
        for (int64_t t = 0; t < count; t++) {
            Setup s;
            if (!set_up(places, triangles + 3 * t, height, width, cull, &s)) continue;
            int64_t owner = n * total + first + t;
            for (int y = s.top; y <= s.bottom; y++) {
                float py = y + 0.5f - s.y0;
                for (int x = s.left; x <= s.right; x++) {
                    float px = x + 0.5f - s.x0;
                    float w1 = s.a1 * px + s.b1 * py, w2 = s.a2 * px + s.b2 * py;
                    if (w1 < 0.0f || w2 < 0.0f || w1 + w2 > 1.0f) continue;
                    float z = s.z0 + w1 * s.rise1 + w2 * s.rise2;
                    int32_t bits;
                    memcpy(&bits, &z, 4);
                    int64_t key = ((int64_t)bits << 32) | owner;
                    int64_t *old = plane + (int64_t)y * width + x;
                    if (key > *old) *old = key;
                }
            }
        }
    }
}

/* map: the largest third coordinate. */
void heads_depth(const float *screen, int64_t frames, int64_t vertices, const int64_t *triangles, int64_t count,
                 int height, int width, float *map) {
    for (int64_t n = 0; n < frames; n++) {
        float *plane = map + n * height * width;
        for (int64_t t = 0; t < count; t++) {
            Setup s;
            if (!set_up(screen + 3 * vertices * n, triangles + 3 * t, height, width, 0, &s)) continue;
            for (int y = s.top; y <= s.bottom; y++) {
                float py = y + 0.5f - s.y0;
                for (int x = s.left; x <= s.right; x++) {
                    float px = x + 0.5f - s.x0;
                    float w1 = s.a1 * px + s.b1 * py, w2 = s.a2 * px + s.b2 * py;
                    if (w1 < 0.0f || w2 < 0.0f || w1 + w2 > 1.0f) continue;
                    float z = s.z0 + w1 * s.rise1 + w2 * s.rise2;
                    float *old = plane + (int64_t)y * width + x;
                    if (z > *old) *old = z;
                }
            }
        }
    }
}

/* All covered pixels nearer than `solid` (or NULL) less `bias`; writes no more than `room` of them, returns how
   many there are. */
int64_t heads_spread(const float *screen, int64_t frames, int64_t vertices, const int64_t *triangles, int64_t count,
                     int height, int width, const float *solid, float bias, int64_t room, int64_t *owner,
                     int64_t *pixel, float *weights, float *depth) {
    int64_t found = 0;
    for (int64_t n = 0; n < frames; n++) {
        int64_t base = n * height * width;
        for (int64_t t = 0; t < count; t++) {
            Setup s;
            if (!set_up(screen + 3 * vertices * n, triangles + 3 * t, height, width, 0, &s)) continue;
            for (int y = s.top; y <= s.bottom; y++) {
                float py = y + 0.5f - s.y0;
                for (int x = s.left; x <= s.right; x++) {
                    float px = x + 0.5f - s.x0;
                    float w1 = s.a1 * px + s.b1 * py, w2 = s.a2 * px + s.b2 * py;
                    if (w1 < 0.0f || w2 < 0.0f || w1 + w2 > 1.0f) continue;
                    float z = s.z0 + w1 * s.rise1 + w2 * s.rise2;
                    int64_t at = base + (int64_t)y * width + x;
                    if (solid && !(z + bias > solid[at])) continue;
                    if (found < room) {
                        owner[found] = n * count + t, pixel[found] = at, depth[found] = z;
                        weights[2 * found] = w1, weights[2 * found + 1] = w2;
                    }
                    found++;
                }
            }
        }
    }
    return found;
}

/* Perspective-correct weights and inverse depth of pixels whose keys are set; returns how many. */
int64_t heads_resolve(const int64_t *keys, const float *screen, int64_t frames, int64_t vertices,
                      const int64_t *triangles, int64_t count, int height, int width, int64_t *pixel,
                      int64_t *triangle, float *weights, float *depth) {
    int64_t found = 0, area = (int64_t)height * width;
    for (int64_t at = 0; at < frames * area; at++) {
        if (!keys[at]) continue;
        int64_t owner = keys[at] & 0xffffffff, n = owner / count, t = owner - n * count, inner = at - n * area;
        const int64_t *corner = triangles + 3 * t;
        const float *places = screen + 3 * vertices * n;
        const float *p = places + 3 * corner[0], *q = places + 3 * corner[1], *r = places + 3 * corner[2];
        float px = inner % width + 0.5f - p[0], py = inner / width + 0.5f - p[1];
        float dx1 = q[0] - p[0], dy1 = q[1] - p[1], dx2 = r[0] - p[0], dy2 = r[1] - p[1];
        float over = 1.0f / (dx1 * dy2 - dx2 * dy1);
        float w1 = (px * dy2 - dx2 * py) * over, w2 = (dx1 * py - px * dy1) * over;
        float s0 = (1.0f - w1 - w2) * p[2], s1 = w1 * q[2], s2 = w2 * r[2], sum = s0 + s1 + s2;
        pixel[found] = at, triangle[found] = t, depth[found] = sum;
        weights[3 * found] = s0 / sum, weights[3 * found + 1] = s1 / sum, weights[3 * found + 2] = s2 / sum;
        found++;
    }
    return found;
}

/* out[p] = sum of weights times the corners' rows of `width` floats. */
void heads_interpolate(const int64_t *pixel, const int64_t *triangle, const float *weights, int64_t count,
                       const int64_t *triangles, const float *values, int64_t vertices, int64_t area, int width,
                       float *out) {
    for (int64_t p = 0; p < count; p++) {
        const int64_t *corner = triangles + 3 * triangle[p];
        const float *base = values + pixel[p] / area * vertices * width;
        const float *a = base + corner[0] * width, *b = base + corner[1] * width, *c = base + corner[2] * width;
        const float *w = weights + 3 * p;
        for (int k = 0; k < width; k++) out[k * count + p] = w[0] * a[k] + w[1] * b[k] + w[2] * c[k];
    }
}
