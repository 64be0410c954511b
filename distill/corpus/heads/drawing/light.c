/* Light on surfaces, in C: what shade.py does in PyTorch, for one thread of a CPU. Columns are (3, count). */
#include <math.h>
#include <stdint.h>

#define BLOCK 256

/* How much of the first light reaches points; `map` is (frames, side, side), `axes` 3 x 3 rows: right, up, to it. */
void heads_visible(const float *position, const int64_t *frame, const float *turn, int64_t count, const float *map,
                   int side, const float *axes, const float *centre, float scale, float radius, float bias,
                   const float *taps, int tap_count, float *lit) {
    for (int64_t p = 0; p < count; p++) {
        float px = position[p], py = position[count + p], pz = position[2 * count + p];
        float x = (axes[0] * px + axes[1] * py + axes[2] * pz - centre[0]) * scale + side / 2;
        float y = side / 2 - (axes[3] * px + axes[4] * py + axes[5] * pz - centre[1]) * scale;
        float near = axes[6] * px + axes[7] * py + axes[8] * pz + bias;
        const float *plane = map + frame[p] * side * side;
        float c = cosf(turn[p]) * radius, s = sinf(turn[p]) * radius;
        int open = 0;
        for (int k = 0; k < tap_count; k++) {
            float dx = taps[2 * k], dy = taps[2 * k + 1];
            int column = (int)(x + (dx * c - dy * s)), row = (int)(y + (dx * s + dy * c));
            column = column < 0 ? 0 : column >= side ? side - 1 : column;
            row = row < 0 ? 0 : row >= side ? side - 1 : row;
            open += plane[row * side + column] <= near;
        }
        lit[p] = (float)open / tap_count;
    }
}

/* How much stands before the sky; pictures (3, frames * height * width), 0 where not covered. */
void heads_occlusion(const float *position, const float *normal, const uint8_t *covered, const float *turn,
                     int64_t frames, int height, int width, float radius, const float *taps, int tap_count,
                     float *out) {
    int64_t area = (int64_t)height * width, plane = frames * area;
    for (int64_t p = 0; p < plane; p++) {
        if (!covered[p]) continue;
        int64_t inner = p % area, base = p - inner;
        int row = (int)(inner / width), column = (int)(inner % width);
        float px = position[p], py = position[plane + p], pz = position[2 * plane + p];
        float nx = normal[p], ny = normal[plane + p], nz = normal[2 * plane + p];
        float c = cosf(turn[p]) * radius, s = sinf(turn[p]) * radius, total = 0.0f;
        for (int k = 0; k < tap_count; k++) {
            float dx = taps[2 * k], dy = taps[2 * k + 1];
            int x = (int)(column + (dx * c - dy * s)), y = (int)(row + (dx * s + dy * c));
            x = x < 0 ? 0 : x >= width ? width - 1 : x;
            y = y < 0 ? 0 : y >= height ? height - 1 : y;
            int64_t q = base + (int64_t)y * width + x;
            if (!covered[q]) continue;
            float ax = position[q] - px, ay = position[plane + q] - py, az = position[2 * plane + q] - pz;
            float square = ax * ax + ay * ay + az * az, above = ax * nx + ay * ny + az * nz - 0.012f;
            float fall = 1.0f - square / 0.1156f;
            if (above > 0.0f && fall > 0.0f) total += above / (square + 0.006f) * fall;
        }
        out[p] = total / tap_count;
    }
}

/* table: 7 rows of wrap red, green, blue, gloss, roughness; lights: rows of direction and colour;
   sky: above, below, side; eye and skin and inside: numbers of materials. */
void heads_shade(const int64_t *material, const float *position, const float *normal, const float *albedo,
                 const float *gloss, const float *reached, const float *open_sky, const float *lit, int64_t count,
                 const float *table, const float *lights, int light_count, const float *sky, float distance,
                 float under_skin, float eye_gloss, int skin, int eye, int inside, float *out) {
    float nx[BLOCK], ny[BLOCK], nz[BLOCK], vx[BLOCK], vy[BLOCK], vz[BLOCK], nv[BLOCK];
    float wr[BLOCK], wg[BLOCK], wb[BLOCK], strength[BLOCK], alpha[BLOCK], is_eye[BLOCK], is_skin[BLOCK];
    float dr[BLOCK], dg[BLOCK], db[BLOCK], sr[BLOCK], sg[BLOCK], sb[BLOCK];
    for (int64_t start = 0; start < count; start += BLOCK) {
        int size = (int)(count - start < BLOCK ? count - start : BLOCK);
        for (int i = 0; i < size; i++) {
            const float *row = table + 5 * material[start + i];
            wr[i] = row[0], wg[i] = row[1], wb[i] = row[2], strength[i] = row[3] * gloss[start + i];
            alpha[i] = row[4] * row[4];
            is_eye[i] = material[start + i] == eye, is_skin[i] = material[start + i] == skin;
        }
        for (int i = 0; i < size; i++) {
            int64_t p = start + i;
            float x = normal[p], y = normal[count + p], z = normal[2 * count + p];
            float over = 1.0f / sqrtf(fmaxf(x * x + y * y + z * z, 1e-12f));
            nx[i] = x * over, ny[i] = y * over, nz[i] = z * over;
            x = -position[p], y = -position[count + p], z = distance - position[2 * count + p];
            over = 1.0f / sqrtf(fmaxf(x * x + y * y + z * z, 1e-12f));
            vx[i] = x * over, vy[i] = y * over, vz[i] = z * over;
            nv[i] = nx[i] * vx[i] + ny[i] * vy[i] + nz[i] * vz[i];
            float open = open_sky[p], up = ny[i] * 0.5f + 0.5f, side = 1.0f + sky[6] * 0.5f * nx[i];
            float soft = is_skin[i] + (material[p] == inside);
            float red = soft > 0.0f ? powf(open, 0.75f) : open, blue = soft > 0.0f ? powf(open, 1.1f) : open;
            dr[i] = (sky[3] + (sky[0] - sky[3]) * up) * side * red;
            dg[i] = (sky[4] + (sky[1] - sky[4]) * up) * side * open;
            db[i] = (sky[5] + (sky[2] - sky[5]) * up) * side * blue;
            sr[i] = sg[i] = sb[i] = 0.0f;
        }
        for (int l = 0; l < light_count; l++) {
            const float *light = lights + 6 * l;
            float lx = light[0], ly = light[1], lz = light[2];
            for (int i = 0; i < size; i++) {
                int64_t p = start + i;
                float open = open_sky[p], seen = l ? 1.0f : lit[p], around = 0.45f + 0.55f * open;
                float redder = l ? 1.0f : powf(fmaxf(seen, 1e-9f), 1.0f - 0.55f * under_skin);
                float facing = lx * nx[i] + ly * ny[i] + lz * nz[i];
                dr[i] += light[3] * fmaxf((facing + wr[i]) / (1.0f + wr[i]), 0.0f) * around * redder;
                dg[i] += light[4] * fmaxf((facing + wg[i]) / (1.0f + wg[i]), 0.0f) * around * seen;
                db[i] += light[5] * fmaxf((facing + wb[i]) / (1.0f + wb[i]), 0.0f) * around * seen;
                float hx = vx[i] + lx, hy = vy[i] + ly, hz = vz[i] + lz;
                float over = 1.0f / sqrtf(fmaxf(hx * hx + hy * hy + hz * hz, 1e-12f));
                float nh = (nx[i] * hx + ny[i] * hy + nz[i] * hz) * over;
                float vh = fmaxf((vx[i] * hx + vy[i] * hy + vz[i] * hz) * over, 0.0f);
                float graze = 1.0f - vh, fresnel = graze * graze * graze * graze * graze;
                float masked = fmaxf(0.5f + 0.5f * fmaxf(nv[i], 0.0f), 0.3f);
                float shared = 0.25f * (1.0f + 20.0f * fresnel) / masked * (nh > 0.0f ? 1.0f : 0.0f);
                float h2 = fmaxf(nh, 0.0f) * fmaxf(nh, 0.0f);
                float a2 = alpha[i] * alpha[i], width = h2 * (a2 - 1.0f) + 1.0f;
                float lobe = a2 / (3.14159265f * width * width) * shared * strength[i] * open;
                width = h2 * (0.01f - 1.0f) + 1.0f;
                float cornea = fminf(0.01f / (3.14159265f * width * width) * shared * 0.10f * eye_gloss, 2.6f);
                float s = (is_eye[i] > 0.0f ? cornea : lobe) * fmaxf(facing, 0.0f) * seen;
                sr[i] += light[3] * s, sg[i] += light[4] * s, sb[i] += light[5] * s;
            }
        }
        for (int i = 0; i < size; i++) {
            int64_t p = start + i;
            float graze = 1.0f - fmaxf(nv[i], 0.0f), fourth = graze * graze * graze * graze;
            float mirrored = 2.0f * nv[i] * ny[i] - vy[i];
            float of_eye = (0.02f + 0.25f * fourth) * (mirrored > 0.15f ? 1.0f : 0.15f) * eye_gloss;
            float sheen = (is_eye[i] > 0.0f ? of_eye : 0.4f * fourth * strength[i] * is_skin[i]) * open_sky[p];
            out[p] = (albedo[p] * dr[i] + sr[i] + sky[0] * sheen) * reached[p];
            out[count + p] = (albedo[count + p] * dg[i] + sg[i] + sky[1] * sheen) * reached[p];
            out[2 * count + p] = (albedo[2 * count + p] * db[i] + sb[i] + sky[2] * sheen) * reached[p];
        }
    }
}
