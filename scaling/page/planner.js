// The planner's arithmetic: N*, D*, loss, intervals, time, money and energy of a budget, as `scaling plan` computes
// them. Pure functions of the page's data (scaling/page/data.py) and of a state; nothing is read from the page.
//
// plan(data, state) -> result
//   state: lawName, flops, accelerator (its name), nAccelerators, pricePerHour (dollars), mfu (0 to 1), servedTokens;
//          null: what the planner takes where nothing is given.
//   result: law, flops, nParams, nTokens, tokensPerParam, loss (null where the law has none), trainingFlops;
//          intervals {level, method, nParams, nTokens, tokensPerParam, loss}: [low, high], 0 and Infinity unbounded;
//          cost {nAccelerators, mfu, seconds, hours, usd, energy}, others {nPapers, nParams, nTokens, least, most},
//          smaller {ratio, nParams, nTokens, extra, breakEven}, valley {low, high, worst}, served {flops, saved},
//          beyond: times the largest run behind the law (null where that is not known).
// tests/page/test_arithmetic.py holds all of it to the Python planner, to 1e-9.
"use strict";
const Planner = (() => {
  const TRAINED = 6, SERVED = 2;          // FLOPs of a parameter and a token: trained, served
  const NEWTON_TOLERANCE = 1e-12, MOST_STEPS = 100;
  const { log, exp, sqrt, min, max, abs, floor } = Math;

  // --- laws: what each family knows; `loss` and `tokensForLoss` only where it gives a loss for any N and D ---

  const logSum = (x, y) => max(x, y) + Math.log1p(exp(-abs(x - y)));

  // L = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, eq. 2 and 4)
  const chinchilla = {
    loss: (c, n, d) => c.E + c.A * n ** -c.alpha + c.B * d ** -c.beta,
    logBalance: (c) => (log(c.alpha * c.A) - log(c.beta * c.B)) / (c.alpha + c.beta),
    optimalSize(c, flops) {
      return exp(chinchilla.logBalance(c) + (c.beta / (c.alpha + c.beta)) * log(flops / TRAINED));
    },
    flopsForLoss(c, loss) {
      const g = chinchilla.logBalance(c);
      const logK = logSum(log(c.A) - c.alpha * g, log(c.B) + c.beta * g);
      return TRAINED * exp((logK - log(loss - c.E)) * (c.alpha + c.beta) / (c.alpha * c.beta));
    },
    tokensForLoss(c, n, loss) {
      const left = loss - c.E - c.A * n ** -c.alpha;
      return left > 0 ? exp((log(c.B) - log(left)) / c.beta) : null;
    },
    floor: (c) => c.E,
    hasOptimum: (c) => min(c.A, c.B, c.alpha, c.beta) > 0,
    // Least loss with 6 N D + 2 N S = C: D (r - 1) = S/3 with r = alpha u / (beta v), searched in y = ln D
    // (Sardana et al. 2024, eq. 3, differentiated).
    optimalSizeServing(c, flops, served) {
      const goal = log(c.beta * c.B / (c.alpha * c.A)) + log(flops / TRAINED);
      let y = log(flops / (TRAINED * chinchilla.optimalSize(c, flops)));
      for (let step = 0; step < MOST_STEPS; step++) {
        const training = TRAINED * exp(y), whole = training + SERVED * served;
        const value = (1 - c.alpha) * log(flops / whole) + (1 + c.beta) * y - goal;
        const slope = 1 + c.beta - (1 - c.alpha) * training / whole;
        y -= value / slope;
        if (abs(value) < NEWTON_TOLERANCE * slope * max(1, abs(y))) return flops / (TRAINED * exp(y) + SERVED * served);
      }
      return null;
    },
  };

  // Chinchilla's form in which parameters beyond what the tokens call for are worth less (Muennighoff et al. 2023,
  // eq. 5-6), every token seen once: D' = D
  const dataConstrained = {
    ...chinchilla,
    loss(c, n, d) {
      const g = chinchilla.logBalance(c), called = exp(min(log(n), g + (c.beta / c.alpha) * (g + log(d))));
      const effective = called * (1 + c.R_N * (1 - exp(-max(n / called - 1, 0) / c.R_N)));
      return c.E + c.A * effective ** -c.alpha + c.B * d ** -c.beta;
    },
    tokensForLoss(c, n, loss) {
      const least = chinchilla.tokensForLoss(c, n, loss); // of parameters that all count
      if (least === null || dataConstrained.loss(c, n, least) <= loss * (1 + 1e-15)) return least;
      let [low, high] = [log(least), log(1e30)];
      for (let step = 0; step < MOST_STEPS; step++) {
        const middle = (low + high) / 2;
        if (dataConstrained.loss(c, n, exp(middle)) > loss) low = middle; else high = middle;
      }
      return exp((low + high) / 2);
    },
    optimalSizeServing: null,
  };

  // L = [(N_c/N)^r + D_c/D]^alpha_D, r = alpha_N/alpha_D (Kaplan et al. 2020, eq. 1.5); L_floor where there is one
  const kaplan = {
    loss: (c, n, d) => (c.E ?? 0) + ((c.N_c / n) ** (c.alpha_N / c.alpha_D) + c.D_c / d) ** c.alpha_D,
    optimalSize(c, flops) {
      const r = c.alpha_N / c.alpha_D;
      return exp((log(r) + r * log(c.N_c) + log(flops / TRAINED) - log(c.D_c)) / (r + 1));
    },
    flopsForLoss(c, loss) {
      const r = c.alpha_N / c.alpha_D, bracket = log(loss - (c.E ?? 0)) / c.alpha_D;
      const logN = log(c.N_c) + (Math.log1p(r) - bracket) / r;
      return TRAINED * exp(log(c.D_c) + (r + 1) * logN - log(r) - r * log(c.N_c));
    },
    tokensForLoss(c, n, loss) {
      const left = (loss - (c.E ?? 0)) ** (1 / c.alpha_D) - (c.N_c / n) ** (c.alpha_N / c.alpha_D);
      return left > 0 ? c.D_c / left : null;
    },
    floor: (c) => c.E ?? 0,
    hasOptimum: () => true,
  };

  // L = E + (a M^eta + b M^-eta) C^-eta, M = D/N (Gadre et al. 2024, eq. 4)
  const overTraining = {
    loss(c, n, d) {
      const m = d / n;
      return c.E + (c.a * m ** c.eta + c.b * m ** -c.eta) * (TRAINED * n * d) ** -c.eta;
    },
    optimalSize: (c, flops) => sqrt(flops / TRAINED / exp((log(c.b) - log(c.a)) / (2 * c.eta))),
    flopsForLoss: (c, loss) => exp((log(2) + (log(c.a) + log(c.b)) / 2 - log(loss - c.E)) / c.eta),
    tokensForLoss(c, n, loss) {
      const left = loss - c.E - c.a * (TRAINED * n ** 2) ** -c.eta;
      return left > 0 ? exp(((log(c.b) - log(left)) / c.eta - log(TRAINED)) / 2) : null;
    },
    floor: (c) => c.E,
    hasOptimum: (c) => min(c.a, c.b, c.eta) > 0,
  };

  // N* = k C^a, L* = L_floor + (C_c/C)^gamma: the optimum alone
  const frontier = {
    optimalSize: (c, flops) => exp(log(c.k) + c.a * log(flops)),
    optimalLoss: (c, flops) => (c.C_c == null ? null : c.L_floor + exp(c.gamma * (log(c.C_c) - log(flops)))),
    hasOptimum: (c) => c.k > 0 && c.a > 0 && c.a < 1,
  };

  const FAMILIES = { chinchilla, data_constrained: dataConstrained, kaplan, over_training: overTraining, frontier };
  const formOf = (law) => FAMILIES[law.form];
  const hasSurface = (law) => Boolean(formOf(law).loss);
  const canServe = (law) => Boolean(formOf(law).optimalSizeServing);

  // --- the optimum ---

  const lifetime = (n, d, served) => n * (TRAINED * d + SERVED * served);

  /** N*, D*, loss and training FLOPs of a budget, served tokens paid from it; null where the law has no optimum. */
  function optimum(law, flops, served = 0, c = law.coefficients) {
    const form = formOf(law);
    if (!form.hasOptimum(c)) return null;
    const nParams = served ? form.optimalSizeServing(c, flops, served) : form.optimalSize(c, flops);
    if (nParams === null) return null;
    const nTokens = (flops / nParams - SERVED * served) / TRAINED;
    const loss = form.loss ? form.loss(c, nParams, nTokens) : form.optimalLoss(c, flops);
    return { nParams, nTokens, loss, flops: served ? TRAINED * nParams * nTokens : flops };
  }

  // --- intervals: a law's band at a plain budget, else percentiles over its draws ---

  /** Linear between order statistics; an infinite end stays infinite. */
  function percentile(values, fraction) {
    const ordered = [...values].sort((a, b) => a - b);
    const position = fraction * (ordered.length - 1), below = floor(position);
    const above = min(below + 1, ordered.length - 1), share = position - below;
    if (share === 0 || ordered[below] === ordered[above]) return ordered[below];
    if (ordered[above] === Infinity) return Infinity;
    return ordered[below] + share * (ordered[above] - ordered[below]);
  }

  const twoSided = (values, level) => [percentile(values, (1 - level) / 2), percentile(values, (1 + level) / 2)];
  const unbounded = (value) => (value === null ? Infinity : value);

  /** Between two budgets of the band, the distance of an end from the optimum is linear, both in logs. */
  function bandEnds(law, flops) {
    const band = law.uncertainty.band;
    if (!band) return null;
    const grid = band.log10Flops, x = Math.log10(flops);
    if (x < grid[0] || x > grid[grid.length - 1]) return null;
    let i = 0;
    while (i < grid.length - 2 && grid[i + 1] <= x) i++;
    const j = min(i + 1, grid.length - 1), share = j > i ? (x - grid[i]) / (grid[j] - grid[i]) : 0;
    const [here, left, right] = [flops, 10 ** grid[i], 10 ** grid[j]].map((at) => optimum(law, at));
    const end = (values, centre) => {
      const [a, b] = [unbounded(values[i]), unbounded(values[j])];
      if (share === 0 || share === 1) return share ? b : a;
      if (a === Infinity || b === Infinity) return Infinity;
      if (min(a, b) <= 0 || centre(here) === null) return 0;
      return centre(here) * exp((1 - share) * log(a / centre(left)) + share * log(b / centre(right)));
    };
    const ends = (low, high, centre) => [end(low, centre), end(high, centre)];
    return {
      nParams: ends(band.nParamsLow, band.nParamsHigh, (p) => p.nParams),
      loss: ends(band.lossLow, band.lossHigh, (p) => p.loss),
    };
  }

  function intervals(law, flops, served) {
    const known = law.uncertainty;
    if (!known) return { level: null, method: "", nParams: null, nTokens: null, tokensPerParam: null, loss: null };
    const band = served ? null : bandEnds(law, flops);
    if (band) {
      const product = flops / TRAINED, [low, high] = band.nParams;
      // D = C / (6 N) and D/N = C / (6 N^2) fall as N grows, so their ends swap
      return {
        level: known.level, method: known.method, nParams: band.nParams, loss: band.loss,
        nTokens: [product / high, low ? product / low : Infinity],
        tokensPerParam: [product / (high * high), low ? product / (low * low) : Infinity],
      };
    }
    if (!known.draws.length) {
      return { level: null, method: "", nParams: null, nTokens: null, tokensPerParam: null, loss: null };
    }
    const names = law.coefficientNames;
    const points = known.draws.map((row) => {
      const drawn = Object.fromEntries(names.map((name, i) => [name, row[i]]));
      return optimum(law, flops, served, drawn);
    });
    const ends = (value) => {
      const values = points.map((point) => (point === null ? null : value(point)));
      if (values.every((v) => v === null)) return null;
      return twoSided(values.map(unbounded), known.level);
    };
    return {
      level: known.level, method: known.drawsMethod, nParams: ends((p) => p.nParams), nTokens: ends((p) => p.nTokens),
      tokensPerParam: ends((p) => p.nTokens / p.nParams), loss: ends((p) => p.loss),
    };
  }

  // --- what leaving the optimum costs ---

  /** ratio N* trained until it reaches the optimum's loss, and the served tokens that repay a smaller one. */
  function otherSize(law, best, ratio, served = 0) {
    const nParams = ratio * best.nParams, nTokens = formOf(law).tokensForLoss(law.coefficients, nParams, best.loss);
    if (nTokens === null) return null;
    const extra = lifetime(nParams, nTokens, served) / lifetime(best.nParams, best.nTokens, served) - 1;
    const perToken = SERVED * (best.nParams - nParams);
    const more = TRAINED * (nParams * nTokens - best.nParams * best.nTokens);
    return { ratio, nParams, nTokens, extra, breakEven: perToken > 0 ? more / perToken : null };
  }

  /** The share of the budget that an optimal model of the same loss would not have needed. */
  function wasted(law, nParams, nTokens) {
    const loss = formOf(law).loss(law.coefficients, nParams, nTokens);
    return max(0, 1 - formOf(law).flopsForLoss(law.coefficients, loss) / (TRAINED * nParams * nTokens));
  }

  /** Between low and high at most `worst` of the compute is wasted; of plain budgets. */
  function valley(law, best, [low, high]) {
    const lost = [low, high].map((ratio) => {
      const n = ratio * best.nParams;
      return wasted(law, n, best.flops / (TRAINED * n));
    });
    return { low: low * best.nParams, high: high * best.nParams, worst: max(...lost) };
  }

  // --- time, money, energy ---

  /** What whole runs reach of the peak: low, middle and high (scaling/planning/utilisation.py says where it is from). */
  function utilisation(accelerator, nParams, nDevices, rules) {
    const u = rules.utilisation, devices = min(max(nDevices, 1), u.mostDevices);
    const told = u.level + u.small * Math.log1p(u.smallParams / nParams) + u.starved * accelerator.starved +
      u.many * log(devices / u.middleDevices);
    const width = (u.widthOverDepth * nParams / 12) ** (1 / 3);
    const middle = exp(told) / (1 + rules.contextLength / (12 * width)) / rules.goodput;
    return [middle / u.spread, middle, middle * u.spread].map((share) => min(share, u.largest));
  }

  function costOf(accelerator, state, trainingFlops, nParams, rules) {
    const reached = (n) => state.mfu ? [state.mfu, state.mfu, state.mfu] : utilisation(accelerator, nParams, n, rules);
    const rate = (mfu) => accelerator.peakFlopsPerS * mfu * rules.goodput;
    let nAccelerators = state.nAccelerators ?? 8;
    if (state.nAccelerators == null)
      while (trainingFlops > nAccelerators * rate(reached(nAccelerators)[1]) * rules.targetSeconds) nAccelerators *= 2;
    const [low, mid, high] = reached(nAccelerators);
    const hours = [high, mid, low].map((mfu) => trainingFlops / (rate(mfu) * 3600));
    const price = state.pricePerHour ? [state.pricePerHour, state.pricePerHour] : accelerator.priceUsdPerHour;
    return {
      nAccelerators, hours, mfu: [low, mid, high], price,
      seconds: hours.map((h) => h * 3600 / nAccelerators),
      usd: price && price.map((p) => hours[1] * p),
      usdExtreme: price && [hours[0] * price[0], hours[2] * price[1]],
      energyKwh: accelerator.tdpW === null ? null : hours.map((h) => accelerator.tdpW * h * 3600 / rules.joulesPerKwh),
    };
  }

  // --- what other papers say of the training optimum of the budget ---

  /** Total parameters of a model with so many outside the vocabulary (the planner's shape rules). */
  function totalParams(n, rules) {
    const aspect = min(128, max(8, 32 * sqrt(sqrt(n / 3e7))));
    const matrix = rules.vocabSize * (n * aspect / 12) ** (1 / 3);
    return n + matrix * (matrix > rules.tieAbove * n ? 1 : 2);
  }

  function answers(data, flops) {
    return data.laws.filter((law) => law.published).map((law) => {
      const best = optimum(law, flops);
      const nParams = law.convention === "non_embedding" ? totalParams(best.nParams, data.rules) : best.nParams;
      return { name: law.name, paper: law.paper, subset: law.subset, nParams, nTokens: best.nTokens };
    }).sort((a, b) => a.nParams - b.nParams);
  }

  /** The middle half of the papers, each with one vote, without the paper of the law itself. */
  function others(data, law, flops) {
    const asked = answers(data, flops).filter((a) => !a.subset && a.paper !== law.paper);
    const papers = [...new Set(asked.map((a) => a.paper))];
    if (!papers.length) return null;
    const middleHalf = (key) => {
      const votes = papers.map((paper) => percentile(asked.filter((a) => a.paper === paper).map((a) => a[key]), 0.5));
      votes.sort((a, b) => a - b);
      const skipped = floor(votes.length / 4);
      return [votes[skipped], votes[votes.length - 1 - skipped]];
    };
    return {
      nPapers: papers.length, nParams: middleHalf("nParams"), nTokens: middleHalf("nTokens"),
      least: asked[0], most: asked[asked.length - 1],
    };
  }

  // --- the plan ---

  const lawNamed = (data, name) => data.laws.find((law) => law.name === name);
  const acceleratorNamed = (data, name) => data.accelerators.find((a) => a.name === name);

  function plan(data, state) {
    const law = lawNamed(data, state.lawName), served = state.servedTokens || 0;
    const best = optimum(law, state.flops, served);
    if (best === null) return null;
    const cost = costOf(acceleratorNamed(data, state.accelerator), state, best.flops, best.nParams, data.rules);
    const priced = hasSurface(law);
    const result = {
      law, flops: state.flops, nParams: best.nParams, nTokens: best.nTokens, loss: best.loss, trainingFlops: best.flops,
      tokensPerParam: best.nTokens / best.nParams, intervals: intervals(law, state.flops, served), cost,
      others: others(data, law, state.flops), smaller: priced ? otherSize(law, best, 0.5, served) : null,
      valley: priced && !served ? valley(law, best, data.rules.valley) : null, served: null,
      beyond: law.largestFlops === null ? null : best.flops / law.largestFlops,
    };
    if (served) {
      const flops = formOf(law).flopsForLoss(law.coefficients, best.loss), n = formOf(law).optimalSize(law.coefficients, flops);
      const trained = lifetime(n, flops / (TRAINED * n), served), whole = lifetime(best.nParams, best.nTokens, served);
      result.served = { flops: whole, saved: 1 - whole / trained };
    }
    return result;
  }

  const surfaceLoss = (law, n, d) => formOf(law).loss(law.coefficients, n, d);
  const tokensForLoss = (law, n, loss) => formOf(law).tokensForLoss(law.coefficients, n, loss);
  return { plan, optimum, answers, surfaceLoss, tokensForLoss, hasSurface, canServe, lawNamed, acceleratorNamed };
})();
