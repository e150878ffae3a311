"""One step of training, in TensorFlow: the loss of a batch, and how the weights move.

In: a network's variables. Out: functions for a batch, which training.py calls:

    step = make_step(variables, make_loss(variables, dropout, seed), learning_rate)
"""

from __future__ import annotations

from learning.tensorflow_loader import load_tensorflow


def make_loss(variables, dropout, seed):
    """A TensorFlow function of a batch (training.batch_tensors): the sum of the mean cross-entropy
    of each of the networks that these variables hold (training.first_variables), so that the
    gradient of each is its own. batch["seen"] is what `words_seen` gives. Hidden units are dropped
    by chance."""
    tf = load_tensorflow()
    generator = tf.random.Generator.from_seed(seed)
    members = variables["bias"].shape[0]

    def hidden_units(batch):
        total = variables["hidden_bias"][:, None]
        # Without "seen", as of an empty vocabulary, there is nothing to see for each product.
        total = total + batch.get("seen", tf.zeros_like(batch["shares"])[..., None])
        if "vector_kernel" in variables:
            total = total + batch["vectors"] @ variables["vector_kernel"]
        hidden = tf.nn.relu(total)
        if dropout:
            keep = generator.uniform(tf.shape(hidden)) >= dropout
            hidden = tf.where(keep, hidden / (1 - dropout), 0.0)
        return hidden

    def loss(batch):
        parts = [hidden_units(batch)] if "hidden_bias" in variables else []
        if "pictures" in batch:
            parts.append(tf.tile(batch["pictures"][None], [members, 1, 1]))
        scores = tf.concat(parts, 2) @ variables["kernel"] + variables["bias"][:, None]
        labels = tf.broadcast_to(batch["labels"], tf.shape(batch["shares"]))
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        return tf.reduce_sum(nats * batch["shares"])

    return loss


def words_seen(kernel, batch, members):
    """([members, batch, units], what the hidden layers see of the words; a function from its
    gradient to that of `kernel` [terms, members * units], which are tf.IndexedSlices).

    One sparse product has all members, each with rows of its own on either side. TensorFlow's
    kernels for CSR give what tf.sparse.sparse_dense_matmul gives in a third of its time, but their
    gradient is slow, so it is here; tf.custom_gradient would keep each training in memory.
    """
    tf = load_tensorflow()
    terms, units = batch["terms"], kernel.shape[1] // members
    shape = [members * tf.size(batch["labels"], tf.int64), members * tf.size(terms, tf.int64)]
    bag = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=tf.ensure_shape(batch["places"], [None, 2]),
        values=batch["values"],
        dense_shape=tf.stack(shape),
    )
    rows = tf.reshape(tf.gather(kernel, terms), [-1, units])
    seen = tf.raw_ops.SparseMatrixMatMul(a=bag, b=rows)

    def of_kernel(gradient):
        turned = tf.raw_ops.SparseMatrixTranspose(input=bag, type=tf.float32)
        of_rows = tf.raw_ops.SparseMatrixMatMul(a=turned, b=tf.reshape(gradient, [-1, units]))
        values = tf.reshape(of_rows, [-1, kernel.shape[1]])
        return tf.IndexedSlices(values, terms, tf.shape(kernel))

    return tf.reshape(seen, [members, -1, units]), of_kernel


def make_step(variables, loss_of, learning_rate, few_rows=False):
    """A TensorFlow function for one step of training at a rate of Adam that returns the batch's
    loss. A learning_rate above 0 means gradient descent. With few_rows, Adam moves only the rows of
    the hidden kernel whose terms the batch has, without momentum."""
    tf = load_tensorflow()
    power = (tf.Variable(1.0), tf.Variable(1.0))

    def mover(name, variable):
        if learning_rate:
            return lambda gradient, rate: variable.assign_sub(
                learning_rate * tf.convert_to_tensor(gradient)
            )
        if few_rows and name == "hidden_kernel":
            return row_mover(variable, power[1])
        return adam_mover(variable, power)

    movers = {name: mover(name, variable) for name, variable in variables.items()}

    def one_step(batch, rate):
        sources, words = {**variables}, "hidden_kernel" in variables and "terms" in batch
        if words:
            kernel, members = variables["hidden_kernel"], variables["bias"].shape[0]
            seen, of_kernel = words_seen(kernel, batch, members)
            sources["hidden_kernel"], batch = seen, {**batch, "seen": seen}
        with tf.GradientTape() as tape:
            tape.watch(sources)
            loss = loss_of(batch)
        gradients = tape.gradient(loss, sources)
        if words:
            gradients["hidden_kernel"] = of_kernel(gradients["hidden_kernel"])
        for decay, so_far in zip((0.9, 0.999), power):
            so_far.assign(so_far * decay)
        for name, move in movers.items():
            if gradients[name] is not None:  # as if the vocabulary is empty
                move(gradients[name], rate)
        return loss

    compiled = []

    def step(batch, rate):
        if not compiled:  # one function for batches of any length; by itself it would make several
            kinds = {
                name: tf.TensorSpec([None] * value.ndim, value.dtype)
                for name, value in batch.items()
            }
            compiled.append(
                tf.function(
                    one_step,
                    autograph=False,
                    input_signature=[kinds, tf.TensorSpec([], tf.float32)],
                )
            )
        return compiled[0](batch, tf.constant(rate, tf.float32))

    return step


def adam_mover(variable, power):
    """A function of a gradient and a rate that moves a variable by Adam (Kingma and Ba 2015,
    algorithm 1); power are 0.9 and 0.999 to the number of steps.

    It is TensorFlow's own fused kernel: with millions of hidden weights the optimiser is the cost
    of a step, and Keras' takes more than twice as long.
    """
    tf = load_tensorflow()
    mean, square = tf.Variable(tf.zeros_like(variable)), tf.Variable(tf.zeros_like(variable))

    def move(gradient, rate):
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=power[0],
            beta2_power=power[1],
            lr=rate,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-7,
            grad=tf.convert_to_tensor(gradient),
        )

    return move


def row_mover(variable, power, least=1e-12):
    """A function of a gradient (tf.IndexedSlices, each row once) and a rate that moves those rows
    of a variable by Adam without momentum (beta1 = 0); power is 0.999 to the number of steps.

    A row without a gradient would not move, and only the mean square of its gradients would fall.
    Batches have few of the terms, and with several networks Adam over all rows would be most of the
    time. So squares are kept as a sum in which newer ones weigh more, which needs nothing done to
    the other rows: that is Adagrad (Duchi et al. 2011), for which TensorFlow has a fused kernel.
    When an old square weighs less than `least` of a new one, all are weighed anew: a float32 holds
    no numbers of any size.
    """
    tf = load_tensorflow()
    squares = tf.Variable(tf.zeros_like(variable))
    faded = tf.Variable(1.0)  # what a square weighs that was new when all were weighed last

    def weigh_anew():
        squares.assign(squares * faded)
        faded.assign(1.0)
        return faded.read_value()

    def move(gradient, rate):
        faded.assign(faded * 0.999)
        share = tf.cond(faded < least, weigh_anew, faded.read_value)
        tf.raw_ops.ResourceSparseApplyAdagradV2(
            var=variable.handle,
            accum=squares.handle,
            lr=rate * tf.sqrt((1 - power) / 0.001),
            epsilon=1e-7 * tf.sqrt((1 - power) / share),
            grad=gradient.values * tf.sqrt(0.001 / share),
            indices=gradient.indices,
        )

    return move
