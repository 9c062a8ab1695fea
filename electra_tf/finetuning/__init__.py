"""A whole run of fine-tuning: tasks and examples become fine-tuned models.

In:   settings, a preset, the files of one task or several.
Out:  a workdir with the best trial's preset; metrics, predictions, a page.

task_config     the settings of the commands on tasks
answers         what a task model says -> JSON, and what metrics take
task_data       the data of a run: jobs, held-out rows, fingerprints
task_builder    jobs + a preset -> models on one encoder
task_trainer    trains one task, or several on one encoder
trials          what each seed came to; best, spread, failed
evaluator       fine-tuned preset + labelled data -> metrics
client          asks a TensorFlow Serving what answers says here
predictor       texts and files -> predictions
nbest           files -> n-best lists, and which of each is best
reranker        n-best lists -> a weight, and the best of each
summary_config  the settings of summaries
summarizing     texts and files -> summaries
searcher       texts -> vectors; the nearest texts
finetune_page   a fine-tuning -> one HTML page
finetuner       the whole run of fine-tuning
"""
