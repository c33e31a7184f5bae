// Compiled with -O3 -march=native: Eigen is headers, and takes what the compiler has.
#include "tests/bench/peers.h"

#include <dlfcn.h>
#include <libxsmm.h>
#include <omp.h>

#include <Eigen/Dense>
#include <dnnl.hpp>
#include <memory>

#include "tests/bench/emitted.h"

namespace bareflow::bench {
namespace {

// cblas.h's constants; OpenBLAS and BLIS define the same symbols, so both are loaded, not linked.
constexpr int kRowMajor = 101, kNoTranspose = 111, kTranspose = 112;
using Sgemv = void (*)(int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                       float*, int);

struct Blas {
    const char* name;
    Sgemv sgemv;
    Sgemm sgemm;
    void* library;
};

template <typename Function>
Function symbol(void* library, const char* name) {
    void* found = dlsym(library, name);
    if (found == nullptr) give_up(std::string("peer without ") + name);
    return reinterpret_cast<Function>(found);
}
Blas load(const char* name, const char* file) {
    void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) give_up(std::string(dlerror()) + "; `make deps-bench` installs the peers");
    return {name, symbol<Sgemv>(library, "cblas_sgemv"), symbol<Sgemm>(library, "cblas_sgemm"), library};
}
const std::vector<Blas>& blas_libraries() {
    static const std::vector<Blas> libraries = [] {
        std::vector<Blas> made{load("OpenBLAS", "libopenblas.so.0"), load("BLIS", "libblis.so.4")};
        symbol<void (*)(int)>(made[0].library, "openblas_set_num_threads")(1);
        symbol<void (*)(long)>(made[1].library, "bli_thread_set_num_threads")(1);
        return made;
    }();
    return libraries;
}

const dnnl::engine& engine() {
    static const dnnl::engine made(dnnl::engine::kind::cpu, 0);
    return made;
}

/// oneDNN's inner product with weights in the layout that it asks for.
Peer onednn(const Product& p) {
    using dnnl::memory;
    const auto f32 = memory::data_type::f32;
    const auto m = static_cast<memory::dim>(p.m), n = static_cast<memory::dim>(p.n),
               k = static_cast<memory::dim>(p.k);
    const memory::desc x({m, k}, f32, memory::format_tag::ab), y({m, n}, f32, memory::format_tag::ab);
    const memory::desc any({n, k}, f32, memory::format_tag::any), rows({n, k}, f32, memory::format_tag::ab);
    const dnnl::inner_product_forward::desc wanted(dnnl::prop_kind::forward_inference, x, any, y);
    const dnnl::inner_product_forward::primitive_desc description(wanted, engine());
    auto stream = std::make_shared<dnnl::stream>(engine());
    auto product = std::make_shared<dnnl::inner_product_forward>(description);
    auto packed = std::make_shared<memory>(description.weights_desc(), engine());
    memory plain(rows, engine(), p.by_rows.get());
    dnnl::reorder(plain, *packed).execute(*stream, plain, *packed);
    stream->wait();
    auto weights = std::make_shared<memory>(description.weights_desc(), engine(), packed->get_data_handle());
    const memory input(description.src_desc(), engine(), p.x.get()),
        output(description.dst_desc(), engine(), p.y.get());
    auto run = [=](const float* w) {
        (void)packed;  // owns the weights
        weights->set_data_handle(const_cast<float*>(w));
        product->execute(*stream,
                         {{DNNL_ARG_SRC, input}, {DNNL_ARG_WEIGHTS, *weights}, {DNNL_ARG_DST, output}});
        stream->wait();
    };
    return {"oneDNN packed", run, static_cast<const float*>(packed->get_data_handle()),
            description.weights_desc().get_size() / sizeof(float)};
}

Peer eigen(const Product& p) {
    using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const auto m = static_cast<Eigen::Index>(p.m), n = static_cast<Eigen::Index>(p.n),
               k = static_cast<Eigen::Index>(p.k);
    const float* x = p.x.get();
    float* y = p.y.get();
    auto run = [=](const float* w) {
        const Eigen::Map<const Matrix> weights(w, n, k);
        if (m == 1) {
            Eigen::Map<Eigen::VectorXf>(y, n).noalias() = weights * Eigen::Map<const Eigen::VectorXf>(x, k);
        } else {
            Eigen::Map<Matrix>(y, m, n).noalias() = Eigen::Map<const Matrix>(x, m, k) * weights.transpose();
        }
    };
    return {"Eigen", run, p.by_rows.get(), p.weights()};
}

/// libxsmm's kernel over blocks of columns, packed one after another: (n / block, k, block).
Peer libxsmm(const Product& p) {
    int block = 16;
    for (int wanted : {96, 64, 48, 32}) {
        if (p.n % static_cast<size_t>(wanted) == 0) {
            block = wanted;
            break;
        }
    }
    const int k = static_cast<int>(p.k), n = static_cast<int>(p.n), m = static_cast<int>(p.m);
    const float alpha = 1, beta = 0;
    // Column-major: (block x k) times (k x m).
    const libxsmm_smmfunction kernel =
        libxsmm_smmdispatch(block, m, k, &block, &k, &n, &alpha, &beta, nullptr, nullptr);
    if (kernel == nullptr) return {};
    auto packed = std::make_shared<Floats>(p.weights());
    for (size_t row = 0; row < p.n; ++row) {
        const size_t b = static_cast<size_t>(block);
        for (size_t column = 0; column < p.k; ++column) {
            (*packed)[(row / b * p.k + column) * b + row % b] = p.by_rows[row * p.k + column];
        }
    }
    const size_t inputs = p.k;
    const float* x = p.x.get();
    float* y = p.y.get();
    auto run = [=](const float* w) {
        (void)packed;
        for (int first = 0; first < n; first += block)
            kernel(w + static_cast<size_t>(first) * inputs, x, y + first);
    };
    return {"libxsmm packed", run, packed->get(), p.weights()};
}

}  // namespace

std::vector<Peer> peers_for(const Product& p) {
    std::vector<Peer> peers;
    const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
    const float* x = p.x.get();
    float* y = p.y.get();
    for (const Blas& blas : blas_libraries()) {
        auto run = [=](const float* w) {
            if (m == 1) {
                blas.sgemv(kRowMajor, kNoTranspose, n, k, 1, w, k, x, 1, 0, y, 1);
            } else {
                blas.sgemm(kRowMajor, kNoTranspose, kTranspose, m, n, k, 1, x, k, w, k, 0, y, n);
            }
        };
        peers.push_back({blas.name, run, p.by_rows.get(), p.weights()});
    }
    omp_set_num_threads(1);
    peers.push_back(eigen(p));
    peers.push_back(onednn(p));
    if (Peer peer = libxsmm(p); peer.run) peers.push_back(std::move(peer));
    return peers;
}

std::string peer_versions() {
    const auto& blas = blas_libraries();
    const dnnl_version_t* dnnl = dnnl_version();
    std::string text = symbol<char* (*)()>(blas[0].library, "openblas_get_config")();
    text += "\nBLIS ";
    text += symbol<const char* (*)()>(blas[1].library, "bli_info_get_version_str")();
    text += "\nEigen " + std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) +
            "." + std::to_string(EIGEN_MINOR_VERSION);
    text += "\noneDNN " + std::to_string(dnnl->major) + "." + std::to_string(dnnl->minor) + "." +
            std::to_string(dnnl->patch);
    libxsmm_init();
    text += std::string("\nlibxsmm ") + LIBXSMM_VERSION + ", " + libxsmm_get_target_arch();
    return text;
}

bool libxsmm_dispatches(int shape) {
    const int lda = 256 + shape, ldb = 256, ldc = 256;
    const float alpha = 1, beta = 1;
    return libxsmm_smmdispatch(64, 8, 256, &lda, &ldb, &ldc, &alpha, &beta, nullptr, nullptr) != nullptr;
}

bool onednn_creates(int shape) {
    using dnnl::memory;
    const memory::dim k = 256 + 8 * shape;
    const auto type = memory::data_type::f32;
    const memory::desc a({8, k}, type, memory::format_tag::ab), b({k, 64}, type, memory::format_tag::ab),
        c({8, 64}, type, memory::format_tag::ab);
    const dnnl::matmul::primitive_desc description({a, b, c}, engine());
    const dnnl::matmul primitive(description);
    return static_cast<bool>(primitive);
}

}  // namespace bareflow::bench
