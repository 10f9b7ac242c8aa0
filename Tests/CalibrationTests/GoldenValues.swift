// SPDX-License-Identifier: Apache-2.0
// Golden values of the calibration arithmetic, computed by a slow independent implementation in
// numpy that follows the same definitions. Hexadecimal, so that they are exact.

import Testing

/// What a golden input looks like and what its histogram is.
struct GoldenInput: Sendable {
  let name: String
  let digest: String
  let histogram: String
  let exponent: Int?
  let binsAbove: Int
  let binsBelow: Int
  let zeros: UInt64
  let min: Float
  let max: Float
}

/// Thresholds on magnitudes, and the asymmetric range with its float32 step and zero point.
struct GoldenThresholds: Sendable, CustomTestStringConvertible {
  var testDescription: String { name }
  let name: String
  let absolute: Double
  let percentile: Double
  let entropy: Double
  let squaredError: Double
  let exhaustive: Double
  let low: Double
  let high: Double
  let step: Float
  let zeroPoint: Int32
  /// absolute, percentile, entropy and squared error thresholds over 127 (255 when one-sided).
  let steps: [Float]
  let relativeErrors: [Double]
}

/// Costs at checkpoints inside the searches.
struct GoldenCurve: Sendable, CustomTestStringConvertible {
  var testDescription: String { name }
  let name: String
  let rejected: Int
  let entropy: [(bins: Int, divergence: Double)]
  let squaredError: [(bins: Int, cost: Double)]
  let percentiles: [(percent: String, threshold: Double)]
}

enum Golden {
  static let inputs: [GoldenInput] = [
    GoldenInput(
      name: "allzero",
      digest: "5341e6b2646979a70e57653007a1f310169421ec9bdd9f1a5648f75ade005af1",
      histogram: "95849497b7301f3d796cd00b428b6c8918afe02d28ff68dd76b12e8b6dab2d18",
      exponent: nil, binsAbove: 0, binsBelow: 0, zeros: 64,
      min: 0x0.0p0, max: 0x0.0p0),
    GoldenInput(
      name: "constant",
      digest: "2f20cd03c9cd392a406c56232b0ff93a15f6d6d7da79086bfa14f55d4a4031b0",
      histogram: "0c59f621dc3dde7e83a911f17ab29b5825216b0828ff84d5e86a552bed91d923",
      exponent: -11, binsAbove: 2049, binsBelow: 0, zeros: 0,
      min: 0x1.0p0, max: 0x1.0p0),
    GoldenInput(
      name: "growth",
      digest: "ce84d4db209754d8e4e18201f02c1bc99744e9415348bdd32a58eeb046d3f80c",
      histogram: "32e5461e797fd80e240d934c3b50b019ad9bf250cacf9b78773cb9a3d8152fff",
      exponent: -10, binsAbove: 3198, binsBelow: 3079, zeros: 0,
      min: -0x1.80da78p1, max: 0x1.8fa33p1),
    GoldenInput(
      name: "hardswish",
      digest: "5136d26ac26b28492f10730054824097d4dc0ec32029e17fa95d53b1405b4175",
      histogram: "1ee0a5a42adff9da8f31e46db8d3db3218d9ab3403bb815b858436ac797f634c",
      exponent: -9, binsAbove: 3664, binsBelow: 193, zeros: 1015,
      min: -0x1.8p-2, max: 0x1.c9f444p2),
    GoldenInput(
      name: "heavy",
      digest: "1512c1db1ec7095771700cfb48edbf7597fd892ad69fbbec79caa676decf8842",
      histogram: "0eef146d516e5dc1aab513d7219fbbaaf2d63ac8f30c9807b92a63528598b6ad",
      exponent: -5, binsAbove: 2268, binsBelow: 2740, zeros: 0,
      min: -0x1.566606p6, max: 0x1.1b7c88p6),
    GoldenInput(
      name: "huge",
      digest: "b073aea68357f403d2b94f1ff2f8c3f0aae3989beca3e6accc81de1baf4a0509",
      histogram: "5eeec3d871cd89c252e8e970cdd0695f01b3bed914485f20e0dc1aa2aad781d3",
      exponent: 90, binsAbove: 3467, binsBelow: 3222, zeros: 0,
      min: -0x1.92b90ep101, max: 0x1.b1577cp101),
    GoldenInput(
      name: "normal",
      digest: "d79a1d4fe3a14ac88136674e481b6ea5f8770a7730a05eeb7d41aeec5e1c2adf",
      histogram: "6c9d2486935d65fca2d5c9313a118722571f6cb35f064eacc471e198ed1ca6ff",
      exponent: -10, binsAbove: 3883, binsBelow: 3875, zeros: 0,
      min: -0x1.e4421ep1, max: 0x1.e54ffap1),
    GoldenInput(
      name: "outlier",
      digest: "bc7323e605d42d78a65dfe916c29590b9011d10918354a9055d1662818073903",
      histogram: "cba8f340ffd31c66cea8bec94fc204e12390f3631255e9564ab1ca8bc0eb6455",
      exponent: -2, binsAbove: 4001, binsBelow: 16, zeros: 0,
      min: -0x1.e4421ep1, max: 0x1.f4p9),
    GoldenInput(
      name: "ramp",
      digest: "cc21ae108bcf2105e07589c4eddf91c681b57cb60ee89cbe134116ad4a59212d",
      histogram: "f41d918b4d0bc8ea0131b4fb88a07910ddd398783f2d3d3fbe808a8194b9c14c",
      exponent: -9, binsAbove: 2048, binsBelow: 2049, zeros: 1,
      min: -0x1.0p2, max: 0x1.fffp1),
    GoldenInput(
      name: "relu",
      digest: "a40e773a597e4edf676f904f69c4aec5d7be304a08bf3df72cd80c7218080e41",
      histogram: "ef8f18c293951ce1820d71d4f0b092950c133efa82076a9dd22e4e9187e89f34",
      exponent: -10, binsAbove: 3823, binsBelow: 0, zeros: 8223,
      min: 0x0.0p0, max: 0x1.ddd92p1),
    GoldenInput(
      name: "tiny",
      digest: "0eb68d94164245b7fd7caaadd7ebbc63227fc253befef1484df741b508054d17",
      histogram: "5ba3ae748da0bb0ec652074f61ed3d2be3a1503abb1a18d270fcd7607a3ef9b7",
      exponent: -70, binsAbove: 3314, binsBelow: 3253, zeros: 0,
      min: -0x1.968f96p-59, max: 0x1.9e3c3ap-59),
    GoldenInput(
      name: "uniform",
      digest: "b74643e7c4cb382dc6886acb2e24e00b1d82289df1744d39e278df3049521b8f",
      histogram: "d82255129ce45abff9323c0cf1c8f956269ad5190956c329292289eaffee01b4",
      exponent: -12, binsAbove: 4096, binsBelow: 4096, zeros: 0,
      min: -0x1.fff6fp-1, max: 0x1.fff9ecp-1),
  ]

  static let thresholds: [GoldenThresholds] = [
    GoldenThresholds(
      name: "constant", absolute: 0x1.0p0,
      percentile: 0x1.0p0,
      entropy: 0x1.0p0, squaredError: 0x1.0p0,
      exhaustive: 0x1.0p0,
      low: -0x0.0p0, high: 0x1.0p0,
      step: 0x1.010102p-8, zeroPoint: -128,
      steps: [0x1.010102p-8, 0x1.010102p-8, 0x1.010102p-8, 0x1.010102p-8],
      relativeErrors: [-1, -1, -1, -1, -1]),
    GoldenThresholds(
      name: "growth", absolute: 0x1.8fa33p1,
      percentile: 0x1.80ep1,
      entropy: 0x1.3a4p1, squaredError: 0x1.7c4p1,
      exhaustive: 0x1.7c4p1,
      low: -0x1.79ap1, high: 0x1.81cp1,
      step: 0x1.7f2f3p-6, zeroPoint: -2,
      steps: [0x1.92c8c2p-6, 0x1.83e7dp-6, 0x1.3cb972p-6, 0x1.7f3e7cp-6],
      relativeErrors: [
        0.00030491838622063056, 0.00028863111513914623, 0.000869498125902719,
        0.00028725804585074636, 0.0002835860947021345,
      ]),
    GoldenThresholds(
      name: "hardswish", absolute: 0x1.c9f444p2,
      percentile: 0x1.b86p2,
      entropy: 0x1.546p2, squaredError: 0x1.ae4p2,
      exhaustive: 0x1.ae4p2,
      low: -0x1.7ap-2, high: 0x1.bb8p2,
      step: 0x1.d4f4f4p-6, zeroPoint: -115,
      steps: [0x1.cd8f62p-5, 0x1.bbd7bp-5, 0x1.570e1cp-5, 0x1.b1a346p-5],
      relativeErrors: [
        0.00018333642899621115, 0.0001552887075304096, 0.001114776022633145, 0.00014894179239879936,
        4.413643910521321e-05,
      ]),
    GoldenThresholds(
      name: "heavy", absolute: 0x1.566606p6,
      percentile: 0x1.1b8p6,
      entropy: 0x1.ca4p5, squaredError: 0x1.3fap6,
      exhaustive: 0x1.3fap6,
      low: -0x1.46ep6, high: 0x1.118p6,
      step: 0x1.2d5d5ep-1, zeroPoint: 11,
      steps: [0x1.591836p-1, 0x1.1dbb76p-1, 0x1.cddbb8p-2, 0x1.422448p-1],
      relativeErrors: [
        0.0012204831972690185, 0.0012633867017611145, 0.0030133198743945533, 0.0011241862475975424,
        0.0009715678286369198,
      ]),
    GoldenThresholds(
      name: "huge", absolute: 0x1.b1577cp101,
      percentile: 0x1.b1577cp101,
      entropy: 0x1.92cp101, squaredError: 0x1.b1577cp101,
      exhaustive: 0x1.b1577cp101,
      low: -0x1.928p101, high: 0x1.afep101,
      step: 0x1.a2d2d2p94, zeroPoint: -5,
      steps: [0x1.b4c0fep94, 0x1.b4c0fep94, 0x1.95ebd8p94, 0x1.b4c0fep94],
      relativeErrors: [
        5.7669584701247976e-05, 5.7669584701247976e-05, 0.00010548593016623607,
        5.7669584701247976e-05, 5.298120478716642e-05,
      ]),
    GoldenThresholds(
      name: "normal", absolute: 0x1.e54ffap1,
      percentile: 0x1.e46p1,
      entropy: 0x1.e0cp1, squaredError: 0x1.d5ap1,
      exhaustive: 0x1.d5ap1,
      low: -0x1.d4p1, high: 0x1.daep1,
      step: 0x1.d9494ap-6, zeroPoint: -1,
      steps: [0x1.e9223ep-6, 0x1.e8306p-6, 0x1.e48912p-6, 0x1.d952a6p-6],
      relativeErrors: [
        7.369915284090584e-05, 7.376191201475301e-05, 7.309204988872684e-05, 7.045677579285977e-05,
        6.982304841258343e-05,
      ]),
    GoldenThresholds(
      name: "outlier", absolute: 0x1.f4p9,
      percentile: 0x1.0p2,
      entropy: 0x1.f4p9, squaredError: 0x1.f4p9,
      exhaustive: 0x1.f4p9,
      low: -0x1.e4421ep1, high: 0x1.f18p9,
      step: 0x1.f5599cp1, zeroPoint: -127,
      steps: [0x1.f7efep2, 0x1.020408p-5, 0x1.f7efep2, 0x1.f7efep2],
      relativeErrors: [
        0.016229425501982576, 0.9759755308150874, 0.016229425501982576, 0.016229425501982576,
        0.014060150635495958,
      ]),
    GoldenThresholds(
      name: "ramp", absolute: 0x1.0p2,
      percentile: 0x1.0p2,
      entropy: 0x1.0p2, squaredError: 0x1.fep1,
      exhaustive: 0x1.fep1,
      low: -0x1.0p2, high: 0x1.ff4p1,
      step: 0x1.00d0dp-5, zeroPoint: 0,
      steps: [0x1.020408p-5, 0x1.020408p-5, 0x1.020408p-5, 0x1.010204p-5],
      relativeErrors: [
        1.5500031395318525e-05, 1.5500031395318525e-05, 1.5500031395318525e-05,
        1.5378732896499234e-05, 1.5378022932598187e-05,
      ]),
    GoldenThresholds(
      name: "relu", absolute: 0x1.ddd92p1,
      percentile: 0x1.db6p1,
      entropy: 0x1.ddd92p1, squaredError: 0x1.da4p1,
      exhaustive: 0x1.da4p1,
      low: -0x0.0p0, high: 0x1.da4p1,
      step: 0x1.dc1c1cp-7, zeroPoint: -128,
      steps: [0x1.dfb8d8p-7, 0x1.dd3d3ep-7, 0x1.dfb8d8p-7, 0x1.dc1c1cp-7],
      relativeErrors: [
        2.5714092217316592e-05, 2.558839146880193e-05, 2.5714092217316592e-05,
        2.5428301865971304e-05, 2.5428301865971304e-05,
      ]),
    GoldenThresholds(
      name: "tiny", absolute: 0x1.9e3c3ap-59,
      percentile: 0x1.9e3c3ap-59,
      entropy: 0x1.7f2p-59, squaredError: 0x1.97ep-59,
      exhaustive: 0x1.97ep-59,
      low: -0x1.94ep-59, high: 0x1.9dcp-59,
      step: 0x1.9aeaeap-66, zeroPoint: -2,
      steps: [0x1.a17f38p-66, 0x1.a17f38p-66, 0x1.822448p-66, 0x1.9b162cp-66],
      relativeErrors: [
        5.444546048531292e-05, 5.444546048531292e-05, 0.00013363674988296957, 5.043159163764932e-05,
        4.813324890018772e-05,
      ]),
    GoldenThresholds(
      name: "uniform", absolute: 0x1.fff9ecp-1,
      percentile: 0x1.fff5555555555p-1,
      entropy: 0x1.ffep-1, squaredError: 0x1.fe6p-1,
      exhaustive: 0x1.fe6p-1,
      low: -0x1.fff6fp-1, high: 0x1.fff9ecp-1,
      step: 0x1.00fd34p-7, zeroPoint: -1,
      steps: [0x1.0200f8p-7, 0x1.01fea8p-7, 0x1.01f3e8p-7, 0x1.013264p-7],
      relativeErrors: [
        1.5543050809095185e-05, 1.554247101934232e-05, 1.553414881178178e-05, 1.530423517733313e-05,
        1.535051336626622e-05,
      ]),
  ]

  static let curves: [GoldenCurve] = [
    GoldenCurve(
      name: "hardswish", rejected: 1532,
      entropy: [
        (128, 0x1.6e10374a5eec6p1),
        (256, 0x1.1ad4c1da1f93ap1),
        (512, 0x1.8a30af5103de5p0),
        (768, 0x1.2099a4b248506p0),
        (1024, 0x1.9f8aacae8cd4ap-1),
        (1280, 0x1.56f3eb0e6aecap-1),
        (1536, 0x1.cf51ae5df0778p-2),
        (1792, 0x1.3a32d5517938fp-2),
        (2048, 0x1.81d5720eaad01p-3),
        (2304, 0x1.5dab2372215ffp-3),
        (2816, 0x1.f8bcc4cadca44p-4),
        (3664, 0x1.0acaeb8f1984bp-3),
      ],
      squaredError: [
        (128, 0x1.7230fd07d1dcdp14),
        (512, 0x1.87e9b2e701f36p13),
        (1024, 0x1.28f67d7c1295p12),
        (2048, 0x1.436a150fb2c72p8),
        (3664, 0x1.16b10ec5c9266p2),
      ],
      percentiles: [
        ("50", 0x1.69e50d79435e5p-2),
        ("90", 0x1.35ap1),
        ("99", 0x1.2cdp2),
        ("99.9", 0x1.7aep2),
        ("99.99", 0x1.b86p2),
        ("99.999", 0x1.c9f444p2),
        ("100", 0x1.c9f444p2),
      ]),
    GoldenCurve(
      name: "heavy", rejected: 1945,
      entropy: [
        (128, 0x1.3d6c805fef888p-1),
        (256, 0x1.43068d5e889dp-2),
        (768, 0x1.c936a6846bb8p-5),
        (1024, 0x1.031a66287dc8p-5),
        (1280, 0x1.67e12d87d1cp-6),
        (2740, 0x1.4640453b934p-6),
      ],
      squaredError: [
        (128, 0x1.1d81399fd847dp18),
        (512, 0x1.52e01d925acfep16),
        (1024, 0x1.1e86a0527a7b3p14),
        (2048, 0x1.bac7c01922ff9p9),
        (2740, 0x1.368c533b6d421p9),
      ],
      percentiles: [
        ("50", 0x1.5f9503d226358p0),
        ("90", 0x1.8d49249249249p2),
        ("99", 0x1.95p4),
        ("99.9", 0x1.8eep5),
        ("99.99", 0x1.1b8p6),
        ("99.999", 0x1.566606p6),
        ("100", 0x1.566606p6),
      ]),
    GoldenCurve(
      name: "normal", rejected: 1394,
      entropy: [
        (128, 0x1.05d89f7d4fd9fp2),
        (256, 0x1.f6b7a74e22cf6p1),
        (512, 0x1.9f3edd9681bfap1),
        (768, 0x1.4c3a41fefb88ap1),
        (1024, 0x1.cfcc9647b90fp0),
        (1280, 0x1.2e5633c202b6p0),
        (1536, 0x1.7d7f8cf265768p-1),
        (1792, 0x1.ccd331a036638p-2),
        (2048, 0x1.0ef3129ffa3e8p-2),
        (3883, 0x1.fe1c3725bd14p-5),
      ],
      squaredError: [
        (128, 0x1.a402be2c2f15ap13),
        (512, 0x1.acc3a7b8120dbp12),
        (1024, 0x1.2caf8524af15fp11),
        (2048, 0x1.31854e3795ffap7),
        (3883, 0x1.3742a95b79de4p0),
      ],
      percentiles: [
        ("50", 0x1.60b13b13b13b1p-1),
        ("90", 0x1.a6cp0),
        ("99", 0x1.432p1),
        ("99.9", 0x1.914p1),
        ("99.99", 0x1.e46p1),
        ("99.999", 0x1.e54ffap1),
        ("100", 0x1.e54ffap1),
      ]),
    GoldenCurve(
      name: "relu", rejected: 1630,
      entropy: [
        (256, 0x1.f3c3d6c2e0296p1),
        (512, 0x1.b09ca7117a81ap1),
        (768, 0x1.5157fd18675c6p1),
        (1024, 0x1.deac258f9da6p0),
        (1280, 0x1.3572b3fe951dap0),
        (2304, 0x1.6c955b3a81cb8p-3),
        (2816, 0x1.a87ffce9f794ap-4),
        (3823, 0x1.66e06c3709c07p-4),
      ],
      squaredError: [
        (128, 0x1.a8a76bbf04ddfp12),
        (512, 0x1.b52381631282p11),
        (1024, 0x1.38b1caeafc849p10),
        (2048, 0x1.6be18bfaa4d04p6),
        (3823, 0x1.2a2c90c2bc9eep-3),
      ],
      percentiles: [
        ("50", 0x0.0p0),
        ("90", 0x1.4dd5555555555p0),
        ("99", 0x1.26ep1),
        ("99.9", 0x1.8bcp1),
        ("99.99", 0x1.db6p1),
        ("99.999", 0x1.ddd92p1),
        ("100", 0x1.ddd92p1),
      ]),
  ]

  static let logarithms: [(Double, Double)] = [
    (1.0, 0x0.0p0),
    (2.0, 0x1.62e42fefa39efp-1),
    (3.0, 0x1.193ea7aad030ap0),
    (10.0, 0x1.26bb1bbb55515p1),
    (12345.0, 0x1.2d78e26ae18e7p3),
    (16777216.0, 0x1.0a2b23f3bab73p4),
    (1000000000000000.0, 0x1.144f69ff9ffc4p5),
  ]
}
